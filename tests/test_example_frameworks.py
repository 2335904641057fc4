"""The sites of docs/examples/ that have an API by another framework: its tokens are good for the chat, too."""

import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from django.test import SimpleTestCase

from .existing import Serving
from .test_docs import ROOT

pytestmark = [pytest.mark.any_database, pytest.mark.slow]

PASSWORD = "correct horse"
# One process, because each takes a second to load the site.
MAKE = f"""
from django.contrib.auth.models import User
from django.core.management import call_command
call_command("migrate", verbosity=0)
for name in ("ana", "bo"):
    User.objects.create_superuser(name, f"{{name}}@example.com", {PASSWORD!r})
"""
SERVER = [
    *("-m", "uvicorn", "--host", "127.0.0.1", "--port", "0"),
    "--factory",
    "streaming_chat.asgi:get_asgi_application",
]


class Site:
    """One of the sites, in its folder, with a database of its own."""

    def __init__(self, name: str, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **{key: value for key, value in os.environ.items() if key != "DATABASE_URL"},
            "DJANGO_SETTINGS_MODULE": "settings",
            "PYTHONPATH": os.pathsep.join(map(str, (ROOT / "docs" / "examples" / name, ROOT))),
            "PYTHONUNBUFFERED": "1",
            "SQLITE_FILE": str(folder / "example.sqlite3"),
        }
        self.manage("shell", "-c", MAKE)

    def manage(self, *arguments: str) -> str:
        """Run one of Django's commands; return what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "django", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def serve(self) -> Serving:
        return Serving([sys.executable, *SERVER], self.folder, self.environment)


class FrameworkTests(SimpleTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def ask(self, method: str, path: str, authorization: str = "", body: Any = None) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        self.addCleanup(connection.close)
        headers = {"Authorization": authorization} if authorization else {}
        content = {} if body is None else {"Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers | content)
        response = connection.getresponse()
        return response.status, response.read().decode()

    def check(self, ana: str, bo: str, wrong: str) -> None:
        """Ask the site's own API and the chat, by the same tokens. ana, bo, wrong: values of the header."""
        assert self.ask("GET", "/api/me", ana) == (200, self.me)
        assert self.ask("GET", "/api/me", wrong)[0] == 401

        status, stream = self.ask("POST", "/chat/api/messages", ana, {"content": "Hi"})

        assert (status, stream.endswith("data: [DONE]\n\n")) == (200, True)
        assert self.count(ana) == 1
        assert self.count(bo) == 0

        for authorization in (wrong, ""):
            assert self.ask("POST", "/chat/api/messages", authorization, {"content": "Hi"})[0] == 401

    def count(self, authorization: str) -> int:
        """Return how many conversations the owner of a token has."""
        status, body = self.ask("GET", "/chat/api/conversations", authorization)

        assert status == 200, body
        return len(json.loads(body)["results"])

    def test_django_rest_framework(self) -> None:
        site = Site("drf", self.folder)
        ana, bo = (re.search("[0-9a-f]{40}", site.manage("drf_create_token", name))[0] for name in ("ana", "bo"))
        self.me = '{"username":"ana"}'
        with site.serve() as serving:
            self.port = serving.port
            self.check(f"Token {ana}", f"Token {bo}", f"Token {'0' * 40}")

    def test_django_ninja(self) -> None:
        site = Site("ninja", self.folder)
        self.me = '{"username": "ana"}'
        with site.serve() as serving:
            self.port = serving.port
            refused = self.ask("POST", "/api/token", body={"username": "ana", "password": "wrong"})
            tokens = [self.token(username) for username in ("ana", "bo")]
            self.check(*tokens, "Bearer wrong")

        assert refused[0] == 401

    def token(self, username: str) -> str:
        status, body = self.ask("POST", "/api/token", body={"username": username, "password": PASSWORD})

        assert status == 200, body
        return f"Bearer {json.loads(body)['token']}"
