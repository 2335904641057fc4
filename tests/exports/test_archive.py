"""Archives that are made while they are sent."""

import io
import tracemalloc
import zipfile
from datetime import UTC, datetime

import pytest
from django.test import SimpleTestCase

from streaming_chat.exports.archive import ArchivedFile, archive

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


def opened(files):
    return zipfile.ZipFile(io.BytesIO(b"".join(archive(files))))


class ArchiveTests(SimpleTestCase):
    def test_it_has_the_files(self):
        files = [("a.md", [b"one ", b"two"], False), ("ñ-雨.json", [b"{}"], True)]
        made = opened([ArchivedFile(name, NOON, pieces, is_large) for name, pieces, is_large in files])

        assert made.testzip() is None
        assert [(name, made.read(name)) for name in made.namelist()] == [("a.md", b"one two"), ("ñ-雨.json", b"{}")]

    def test_without_files_it_is_empty(self):
        assert opened([]).namelist() == []

    def test_its_size_costs_no_memory(self):
        """200 MB that hardly shrink, of which a piece of 1 MB is in memory."""
        noise = bytes(range(256)) * 4096
        tracemalloc.start()
        size = sum(map(len, archive([ArchivedFile("a.json", NOON, (noise for _ in range(200)))])))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

        assert size > 100_000
        assert peak < 4_000_000, peak

    def test_if_a_file_fails_the_archive_has_no_end(self):
        def pieces():
            yield b"one"
            raise ConnectionError

        taken = []
        with pytest.raises(ConnectionError):
            taken.extend(archive([ArchivedFile("a.md", NOON, pieces())]))

        with pytest.raises(zipfile.BadZipFile):
            zipfile.ZipFile(io.BytesIO(b"".join(taken)))
