"""An export file that an interrupted export continues. Beside the file that grows is its progress.

<name>.part     grows
<name>.state    what is exported, the last complete conversation, and the size of the file with it

Both are gone when <name> exists. Only the account that created them can read them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from streaming_chat import private_files

from .transcripts import ExportChunk

_MODE = 0o600
# After this many bytes the progress is saved, which costs an fsync.
_SAVE_BYTES = 4_000_000


class Progress(NamedTuple):
    """How far an export is. options: what is exported, as JSON. through: the last complete conversation."""

    options: dict[str, Any]
    through: str | None = None
    size: int = 0
    conversations: int = 0
    messages: int = 0


class ExportFile:
    """A file that exists only when it is complete."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._part = path.with_name(f"{path.name}.part")
        self._state = path.with_name(f"{path.name}.state")

    def load_progress(self) -> Progress | None:
        """Return the progress of an interrupted export; None for none. Raises ValueError for an unreadable state."""
        try:
            progress = Progress(**json.loads(self._state.read_bytes()))
            return progress if self._part.stat().st_size >= progress.size else None
        except FileNotFoundError:
            return None
        except (TypeError, ValueError) as error:
            raise ValueError(f"{self._state} is not the state of an export; remove it to start again.") from error

    def write(self, chunks: Iterator[ExportChunk], progress: Progress) -> Iterator[Progress]:
        """Write chunks after what is there, and yield the progress after each page. Raises OSError."""
        descriptor = os.open(self._part, os.O_RDWR | os.O_CREAT, _MODE)
        with open(descriptor, "r+b") as file:  # noqa: PTH123  (its mode)
            file.truncate(progress.size)
            file.seek(progress.size)
            self._save(progress)
            saved_size = progress.size
            for reached in _write_chunks(file, chunks, progress):
                if reached.size - saved_size > _SAVE_BYTES:
                    _sync(file)
                    self._save(reached)
                    saved_size = reached.size
                yield reached
            _sync(file)
        self._part.rename(self.path)
        self._state.unlink()

    def _save(self, progress: Progress) -> None:
        private_files.write(self._state, json.dumps(progress._asdict()).encode())


def _write_chunks(file: BinaryIO, chunks: Iterator[ExportChunk], progress: Progress) -> Iterator[Progress]:
    """Write the chunks, and yield the progress whenever a page of conversations is complete."""
    for chunk in chunks:
        file.write(chunk.data)
        progress = Progress(
            progress.options,
            str(chunk.through) if chunk.through else progress.through,
            progress.size + len(chunk.data),
            progress.conversations + chunk.conversations,
            progress.messages + chunk.messages,
        )
        if chunk.through is not None:
            yield progress


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
