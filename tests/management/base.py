"""A folder to export to, for tests of the commands that write files."""

import json
import tempfile
from io import StringIO
from pathlib import Path

from django.core.management import call_command
from django.test import TestCase

from streaming_chat.exports import rows


class FolderTestCase(TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.path = self.folder / "out"
        self.addCleanup(setattr, rows, "CONVERSATIONS", rows.CONVERSATIONS)
        rows.CONVERSATIONS = 2

    def run_command(self, *arguments, path=None):
        """Return what it says on standard output and on standard error."""
        out, err = StringIO(), StringIO()
        call_command("exporttranscripts", "--output", str(path or self.path), *arguments, stdout=out, stderr=err)
        return out.getvalue(), err.getvalue()

    def ids(self, *arguments):
        self.run_command(*arguments)
        lines = [json.loads(line) for line in self.path.read_text().splitlines()]
        self.path.unlink()
        return {line["id"] for line in lines}
