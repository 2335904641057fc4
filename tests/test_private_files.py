"""Private files: there whole or not at all, also after the machine has lost its power."""

import os
import stat
import tempfile
from pathlib import Path
from unittest import mock

from django.test import SimpleTestCase

from streaming_chat import private_files


class SystemCalls:
    """Records the calls that decide what a crash leaves, and makes them."""

    def __init__(self) -> None:
        self.made: list[tuple[str, str]] = []

    def fsync(self, descriptor: int) -> None:
        self.made.append(("fsync", Path(f"/proc/self/fd/{descriptor}").readlink().suffix or "folder"))
        _fsync(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        self.made.append(("rename", Path(target).suffix))
        _rename(source, target)

    def recorded(self) -> mock._patch_dict:
        return mock.patch.multiple(os, fsync=self.fsync, rename=self.rename)


_fsync, _rename = os.fsync, os.rename


class WriteTests(SimpleTestCase):
    def setUp(self):
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.path = self.folder / "file.json"

    def test_its_content_is_on_the_disk_before_its_name_and_its_name_before_it_returns(self):
        """Else a crash leaves an empty file of that name, or none. See fsync(2) about the folder."""
        calls = SystemCalls()
        with calls.recorded():
            private_files.write(self.path, b"text")

        assert calls.made == [("fsync", ".new"), ("rename", ".json"), ("fsync", "folder")]
        assert self.path.read_bytes() == b"text"

    def test_only_its_user_may_read_it(self):
        private_files.write(self.path, b"text")

        assert stat.S_IMODE(self.path.stat().st_mode) == 0o600

    def test_one_that_is_there_is_replaced(self):
        self.path.write_bytes(b"before")
        self.path.chmod(0o644)
        private_files.write(self.path, b"after")

        assert self.path.read_bytes() == b"after"
        assert stat.S_IMODE(self.path.stat().st_mode) == 0o600

    def test_one_that_cannot_be_written_leaves_nothing(self):
        self.path.mkdir()
        (self.path / "inside").touch()
        with self.assertRaises(OSError):
            private_files.write(self.path, b"text")

        assert list(self.folder.iterdir()) == [self.path]

    def test_one_is_created_but_never_taken_over(self):
        with private_files.create(self.path) as file:
            file.write(b"text")

        assert stat.S_IMODE(self.path.stat().st_mode) == 0o600
        with self.assertRaises(FileExistsError):
            private_files.create(self.path)
