"""An export that goes on where it was when its process was ended: beside the file that grows lies how far it is.

<name>.part     grows
<name>.state    what is exported, and the last conversation that is whole, with the size of the file then

Both are gone when <name> is there. Only the account that made them may read them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from streaming_chat import private_files

from .transcripts import Piece

_MODE = 0o600
# A state that is never older than so many bytes; each costs an fsync.
_BYTES = 4_000_000


class State(NamedTuple):
    """How far an export is. asked: what is exported, as JSON."""

    asked: dict[str, Any]
    upto: str | None = None
    size: int = 0
    conversations: int = 0
    messages: int = 0


class ExportFile:
    """A file that is there whole or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._part = path.with_name(f"{path.name}.part")
        self._state = path.with_name(f"{path.name}.state")

    def begun(self) -> State | None:
        """Return how far an earlier process came; None for not at all. Raises ValueError for what is none of ours."""
        try:
            state = State(**json.loads(self._state.read_bytes()))
            return state if self._part.stat().st_size >= state.size else None
        except FileNotFoundError:
            return None
        except (TypeError, ValueError) as error:
            raise ValueError(f"{self._state} is no state of an export; remove it to begin anew.") from error

    def write(self, pieces: Iterator[Piece], state: State) -> Iterator[State]:
        """Write them after what is there, and yield how far it is after each page. Raises OSError."""
        descriptor = os.open(self._part, os.O_RDWR | os.O_CREAT, _MODE)
        with open(descriptor, "r+b") as file:  # noqa: PTH123  (its mode)
            file.truncate(state.size)
            file.seek(state.size)
            self._save(state)
            saved = size = state.size
            conversations, messages = state.conversations, state.messages
            for piece in pieces:
                file.write(piece.data)
                size += len(piece.data)
                conversations += piece.conversations
                messages += piece.messages
                if piece.upto is None:
                    continue
                state = State(state.asked, str(piece.upto), size, conversations, messages)
                if size - saved > _BYTES:
                    file.flush()
                    os.fsync(descriptor)
                    self._save(state)
                    saved = size
                yield state
            file.flush()
            os.fsync(descriptor)
        self._part.rename(self.path)
        self._state.unlink()

    def _save(self, state: State) -> None:
        private_files.write(self._state, json.dumps(state._asdict()).encode())
