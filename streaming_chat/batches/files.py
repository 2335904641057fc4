"""The two files of a batch: the lines to ask, and the results, which grow by whole lines that survive a crash."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from .lines import Line, id_of, read_line

if sys.platform != "win32":
    import fcntl

# Readable by their owner only: the results have the texts.
_MODE = 0o600


class ResultFile:
    """The results so far. One process at a time writes it; a context manager. ids: of the lines that have a result.

    A last line without its end is what a crash left; it is removed.
    """

    def __init__(self, path: Path) -> None:
        """Raises ValueError for a file that is not made of results, or that another process is writing. Raises OSError."""
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, _MODE)
        try:
            self._lock()
            self.ids = self._read()
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        os.close(self._file)

    def append(self, results: Sequence[Mapping[str, Any]]) -> None:
        """Add results, all or none of them, so that they survive a crash of the machine. Blocking. Raises OSError."""
        size = os.fstat(self._file).st_size
        data = "".join(f"{json.dumps(result, ensure_ascii=False)}\n" for result in results).encode()
        try:
            while data:
                data = data[os.write(self._file, data) :]
            os.fsync(self._file)
        except OSError:
            # A full disk takes a part of it.
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, size)
            raise
        self.ids.update(id_of(result) for result in results)

    def _lock(self) -> None:
        if sys.platform != "win32":
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(f"{self._path} is being written by another process.") from None

    def _read(self) -> set[str]:
        ids: set[str] = set()
        size = 0
        with self._path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    os.ftruncate(self._file, size)
                    break
                size += len(line)
                try:
                    ids.add(id_of(json.loads(line)))
                except ValueError as error:
                    raise ValueError(f"line {number} of {self._path} is not a result: {error}.") from None
        return ids


class PromptFile:
    """The lines to ask. Checked once as a whole, before anything is paid for; then read again, line by line."""

    def __init__(self, path: Path, default_model: str) -> None:
        """Raises ValueError for the first line that cannot be asked, or has the id of an earlier one. Raises OSError."""
        self._path = path
        self._default_model = default_model
        self.ids: set[str] = set()
        for number, line in self._numbered():
            if line.id in self.ids:
                raise ValueError(f"line {number} of {path} has the id of an earlier line.")
            self.ids.add(line.id)

    def without(self, ids: set[str]) -> Iterator[Line]:
        """Yield the lines that do not have one of these ids."""
        for _number, line in self._numbered():
            if line.id not in ids:
                yield line

    def _numbered(self) -> Iterator[tuple[int, Line]]:
        with self._path.open(encoding="utf-8-sig") as file:
            for number, text in enumerate(file, 1):
                if text.strip():
                    yield number, self._read(number, text)

    def _read(self, number: int, text: str) -> Line:
        try:
            return read_line(text, self._default_model)
        except ValueError as error:
            raise ValueError(f"line {number} of {self._path} cannot be asked: {error}.") from None
