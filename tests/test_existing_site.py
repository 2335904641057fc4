"""A site that was there before the app adds the README's five lines, and chats."""

import json
import tempfile
from pathlib import Path

import pytest
from django.test import SimpleTestCase

from .existing import ROOT, SERVERS, SETTINGS_LINE, URLS_LINE, Browser, ExistingSite
from .test_both_handlers import plain

pytestmark = [pytest.mark.any_database, pytest.mark.slow]


class ExistingSiteTests(SimpleTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = cls.enterClassContext(tempfile.TemporaryDirectory(prefix="streaming_chat_site_"))
        cls.site = ExistingSite(Path(folder), path=ROOT)

    def test_the_lines_are_the_readmes(self):
        readme = (ROOT / "README.md").read_text()

        assert SETTINGS_LINE in readme
        assert URLS_LINE in readme

    def test_it_has_nothing_to_complain_of_but_its_database(self):
        """SQLite without IMMEDIATE, which the README has a line for."""
        said = self.site.manage("check", "--fail-level", "ERROR")

        assert "no issues" in said or "W004" in said
        assert self.site.manage("makemigrations", "--check", "--dry-run").startswith("No changes")

    def test_it_chats_under_each_server(self):
        for server in SERVERS:
            with self.subTest(server):
                self.site.check_chat(server)

    def test_it_chats_without_the_admin(self):
        with tempfile.TemporaryDirectory(prefix="streaming_chat_site_") as folder:
            site = ExistingSite(Path(folder), path=ROOT, has_admin=False)
            said = site.manage("check", "--fail-level", "ERROR")

            assert "admin" not in (site.folder / "mysite" / "settings.py").read_text()
            assert "no issues" in said or "W004" in said
            site.check_chat("uvicorn with streaming_chat.asgi")

    def test_it_answers_the_same_under_both_handlers(self):
        djangos, ours = (Visit(self.site, server).seen for server in SERVERS if server != "runserver")

        assert ours == djangos
        assert [answer[0] for answer in ours.values()] == [302, 401, 404, 200, 200, 422, 200, 200, 200, 200, 200, 204]


class Visit:
    """A user's requests to a server of the site. seen: of each answer, by its step, the status, headers and body."""

    def __init__(self, site, server):
        self.seen = {}
        self._ids = {}
        with site.serve(server) as serving:
            self._browser = Browser(serving.port)
            self._ask("the page as nobody", "GET", "/chat/")
            self._ask("the API as nobody", "GET", "/chat/api/conversations")
            self._browser.sign_in()
            self._chat()

    def _chat(self):
        self._ask("nothing", "GET", "/nowhere")
        for path in ("/chat/", "/admin/people/person/"):
            self._ask(path, "GET", path)
        self._ask("nothing to send", "POST", "/chat/api/messages", {})
        start = self._send()
        message = f"/chat/api/messages/{start['message']}"
        conversation = f"/chat/api/conversations/{start['conversation']}"
        self._ask("list", "GET", "/chat/api/conversations")
        self._ask("read", "GET", f"{conversation}/messages")
        self._ask("resume", "GET", f"{message}/events?after=0")
        self._ask("stop", "POST", f"{message}/stop", {})
        self._ask("delete", "DELETE", conversation, {})

    def _send(self):
        """Send a message, and read the reply as it comes. Which words share an event is the machine's."""
        answer = self._browser.ask("POST", "/chat/api/messages", json.dumps({"content": "Hi"}))
        frames = [json.loads(line[6:]) for line in answer.text.split("\n") if line.startswith("data: {")]
        text = "".join(frame["text"] for frame in frames)
        self._note("send", answer, f"{frames[0]} {text} {frames[-1]}")
        return frames[0]

    def _ask(self, step, method, path, body=None):
        answer = self._browser.ask(method, path, None if body is None else json.dumps(body))
        self._note(step, answer, answer.text)
        return answer

    def _note(self, step, answer, body):
        headers = {name: plain(value, self._ids) for name, value in answer.headers.items()}
        # Both vary with the digits of times, and with what GZipMiddleware adds.
        headers |= dict.fromkeys(headers.keys() & {"content-length", "x-length"}, "LENGTH")
        self.seen[step] = answer.status, headers, plain(body, self._ids)
