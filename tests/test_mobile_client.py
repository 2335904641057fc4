"""docs/examples/mobile_client.py, over a network that breaks."""

import os
import subprocess
import sys

import pytest
from django.conf import settings

from streaming_chat.models import AccessToken, Message

from .browser.line import Line
from .factories import make_token
from .provider_server import Gate, Script
from .servers import ServerTestCase

CLIENT = settings.BASE_DIR / "docs" / "examples" / "mobile_client.py"


@pytest.mark.slow
class MobileClientTests(ServerTestCase):
    def start(self, root: str, token: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, str(CLIENT), f"{root}/chat/", "Will it rain?"],
            env={**os.environ, "TOKEN": token, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.kill)
        return process

    def test_a_reply_is_whole_over_a_line_that_is_cut(self):
        gate = Gate()
        self.provider.script(Script(["It ", "will ", "rain."], gates={2: gate}))
        with Line(f"http://127.0.0.1:{self.server.port}") as line:
            process = self.start(line.url, make_token())
            gate.wait_reached()
            heard = process.stdout.read(len("It will "))
            line.cut()
            gate.open()
            rest, errors = process.communicate(timeout=60)

            assert (heard + rest, errors, process.returncode) == ("It will rain.\n", "", 0)
            assert line.asked("POST", "api/messages") == line.asked("GET", "/events") == 1
        assert Message.objects.get(role="assistant").text == "It will rain."
        assert len(self.provider.calls) == 1

    def test_a_revoked_token_ends_it(self):
        token = make_token()
        AccessToken.objects.all().delete()
        process = self.start(f"http://127.0.0.1:{self.server.port}", token)
        said, errors = process.communicate(timeout=60)

        assert (said, process.returncode) == ("", 1)
        assert errors == "This access token is not valid. It may have expired, or been revoked.\n"
