"""docs/examples/download_chats.py: a backup of all chats, which is never replaced by half of one."""

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest
from django.conf import settings
from django.test import override_settings

from streaming_chat.accounts.permissions import Permissions
from streaming_chat.models import AccessToken

from .factories import make_conversation, make_reply, make_token, make_user
from .servers import ServerTestCase

EXAMPLE = settings.BASE_DIR / "docs" / "examples" / "download_chats.py"


class Fickle(Permissions):
    """A site where everybody may read until the download has begun."""

    answers = iter([True])

    def may_read(self, request, owner):
        return next(self.answers, False)


@pytest.mark.slow
class DownloadExampleTests(ServerTestCase):
    def setUp(self):
        super().setUp()
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.file = self.folder / "chats.zip"
        for title in ("Rain in Lisbon", "雪"):
            make_reply(make_conversation(title=title))
        make_reply(make_conversation(make_user("bo"), title="Theirs"))
        self.token = make_token(scope="read")

    def start(self, root):
        return subprocess.Popen(
            [sys.executable, str(EXAMPLE), f"{root}/chat/", str(self.file)],
            env={**os.environ, "TOKEN": self.token, "PYTHONUTF8": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def run_example(self):
        process = self.start(f"http://127.0.0.1:{self.server.port}")
        said, errors = process.communicate(timeout=60)
        return process.returncode, said, errors

    def test_it_saves_all_chats_and_names_them(self):
        assert self.run_example() == (0, "2 chats:\n- Rain in Lisbon\n- 雪\n", "")
        names = zipfile.ZipFile(self.file).namelist()

        assert len(names) == 4
        assert names[0].endswith(".md")
        assert [file.name for file in self.folder.iterdir()] == ["chats.zip"]

    def test_a_token_that_is_not_valid(self):
        self.file.write_bytes(b"the one before")
        AccessToken.objects.all().delete()

        assert self.run_example() == (
            1,
            "",
            "This access token is not valid. It may have expired, or been revoked.\n",
        )
        assert self.file.read_bytes() == b"the one before"
        assert [file.name for file in self.folder.iterdir()] == ["chats.zip"]

    def test_an_archive_that_is_cut(self):
        self.file.write_bytes(b"the one before")
        backend = {"BACKEND": f"{__name__}.Fickle"}
        with override_settings(STREAMING_CHAT_PERMISSIONS=backend, STREAMING_CHAT_HEARTBEAT_SECONDS=1e-6):
            assert self.run_example() == (1, "", "The archive is not complete.\n")

        assert self.file.read_bytes() == b"the one before"
        assert [file.name for file in self.folder.iterdir()] == ["chats.zip"]
