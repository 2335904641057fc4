"""docs/examples/curl.sh: curl signs in, sends a message and prints the reply."""

import shutil
import subprocess

from django.contrib.auth import get_user_model

from streaming_chat.models import Message
from tests.provider_server import Script

from .bundles import ROOT

# What a shell, JSON and curl each have a meaning for.
PASSWORD = "@rose&bud=%20 +$HOME\"'\\"
MESSAGE = "@Will \"it\" 'rain'?\n\n\tC:\\new %s `date` $HOME é 🎈\n-- \\"


class TestCurl:
    def test_the_text_of_a_reply(self, site: str, provider, transactional_db):
        assert shutil.which("curl"), "this test needs curl 7.82 on PATH."
        get_user_model().objects.create_user("bo", password=PASSWORD)
        script = Script(["Hello", ", wörld\n", "<b> 🎈"])
        provider.script(script)
        command = ["sh", "docs/examples/curl.sh", site, "bo", PASSWORD, MESSAGE]
        printed = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=False)

        assert (printed.returncode, printed.stderr) == (0, b"")
        assert printed.stdout.decode() == script.text
        assert Message.objects.get(role="user").text == MESSAGE
