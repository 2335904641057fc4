"""Files that only the app's own user may read, written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path
from typing import BinaryIO

_MODE = 0o600


def create(path: Path) -> BinaryIO:
    """Open a new private file for writing. Raises FileExistsError if there is one of this name."""
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE), "wb")  # noqa: PTH123  (its mode)


def write(path: Path, data: bytes) -> None:
    """Write a private file so that it survives a crash of the machine; one that is there is replaced. Raises OSError.

    A crash may leave an incomplete file behind, whose name ends in `.new`.
    """
    new = path.with_suffix(f".{uuid.uuid4().hex}.new")
    try:
        with create(new) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.rename(path)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink()
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a crash: a file's own fsync does not, see fsync(2)."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
