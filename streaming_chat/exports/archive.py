"""A zip archive that is made while it is sent. It is nowhere as a whole: neither in memory nor on a disk.

Memory has one piece of one file, and about 500 bytes for each file: the archive ends with a list of them.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from django.utils import timezone


class ArchivedFile(NamedTuple):
    """A file of the archive. is_large: it may have more than 2 GiB."""

    name: str
    modified_at: datetime
    pieces: Iterable[bytes]
    is_large: bool = False


class _Outbox(io.RawIOBase):
    """What the archive has written and nobody has taken. It cannot seek, so that sizes come after each file."""

    def __init__(self) -> None:
        self._written = bytearray()

    def writable(self) -> bool:
        """See IOBase."""
        return True

    def write(self, data: object) -> int:
        """See RawIOBase."""
        with memoryview(data) as view:  # type: ignore[arg-type]  # zipfile writes bytes
            self._written += view
            return view.nbytes

    def take(self) -> bytes:
        """Return what was written since the last call."""
        taken = bytes(self._written)
        self._written.clear()
        return taken


def archive(files: Iterable[ArchivedFile]) -> Iterator[bytes]:
    """Yield a zip archive of these files. If one of them raises an exception, the archive has no end."""
    outbox = _Outbox()
    with ZipFile(outbox, "w") as made:
        for file in files:
            entry = ZipInfo(file.name, timezone.localtime(file.modified_at).timetuple()[:6])
            entry.compress_type = ZIP_DEFLATED
            with made.open(entry, "w", force_zip64=file.is_large) as opened:
                for piece in file.pieces:
                    opened.write(piece)
                    yield from filter(None, [outbox.take()])
    yield outbox.take()
