"""An existing site takes the app in by the README's lines, and chats. Needs nothing of the suite: also for a built wheel.

    with tempfile.TemporaryDirectory() as folder:
        site = ExistingSite(Path(folder), python)       # an interpreter that has the app and uvicorn
        for server in SERVERS:
            site.check_chat(server)

It has an e-mail-only user model with UUID keys, LoginRequiredMiddleware, ATOMIC_REQUESTS, GZipMiddleware, a strict
Content-Security-Policy and a synchronous middleware that asks the database. Raises AssertionError where something fails.
"""

import gzip
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "tests" / "existing_site"
# The README's lines; test_existing_site holds that it has them.
SETTINGS_LINE = 'INSTALLED_APPS += ["streaming_chat"]'
URLS_LINE = 'urlpatterns += [path("chat/", include("streaming_chat.urls"))]'
_UVICORN = ["-m", "uvicorn", "--host", "127.0.0.1", "--port", "0"]
SERVERS = {
    "uvicorn": [*_UVICORN, "mysite.asgi:application"],
    "uvicorn with streaming_chat.asgi": [*_UVICORN, "--factory", "streaming_chat.asgi:get_asgi_application"],
    "runserver": ["manage.py", "runserver", "--noreload", "127.0.0.1:0"],
}
EMAIL, PASSWORD = "ana@example.com", "correct horse"
_LISTENING = re.compile(r"http://127\.0\.0\.1:([1-9]\d*)")
_START_SECONDS = 60
_INLINE = re.compile(r"<script(?![^>]*\ssrc=)(?![^>]*type=.application/json)|<style|\sstyle=|\son\w+=", re.IGNORECASE)


class ExistingSite:
    """A copy of the site in a folder, with the app added."""

    def __init__(
        self, folder: Path, python: Path | str = sys.executable, *, path: Path | None = None, has_admin: bool = True
    ) -> None:
        """path: where the app is, for an interpreter in which it is not installed. has_admin: whether it uses the admin."""
        self.folder = folder / "site"
        self._has_admin = has_admin
        self._python = str(python)
        self._environment = {
            **{name: value for name, value in os.environ.items() if name != "DATABASE_URL"},
            "DJANGO_SETTINGS_MODULE": "mysite.settings",
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": str(path or ""),
        }
        shutil.copytree(SOURCE, self.folder, ignore=shutil.ignore_patterns("__pycache__"))
        for name, line in (("settings", SETTINGS_LINE), ("urls", URLS_LINE)):
            module = self.folder / "mysite" / f"{name}.py"
            lines = module.read_text().splitlines(keepends=True)
            if not has_admin:
                lines = [kept for kept in lines if "admin" not in kept]
            module.write_text("".join([*lines, f"\n{line}\n"]))
        self.manage("migrate", "-v0")
        self.manage("createsuperuser", "--noinput", "--email", EMAIL, DJANGO_SUPERUSER_PASSWORD=PASSWORD)

    def manage(self, *arguments: str, **environment: str) -> str:
        """Run one of Django's commands; return what it printed."""
        done = subprocess.run(
            [self._python, "manage.py", *arguments],
            cwd=self.folder,
            env=self._environment | environment,
            capture_output=True,
            text=True,
            check=False,
        )

        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def check_chat(self, server: str) -> None:
        """Serve, sign in, send, read the stream as it comes, and look at API, chat page and transcript."""
        with self.serve(server) as serving:
            browser = Browser(serving.port)
            browser.sign_in()
            start = _check(browser)
            if self._has_admin:
                _check_admin(browser, start)

    def serve(self, server: str) -> "Serving":
        """Return the site, served in a process of its own."""
        return Serving([self._python, *SERVERS[server]], self.folder, self._environment)


class Serving:
    """A server in a process of its own; its port is in what it prints."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        self._log = folder / "server.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def __enter__(self) -> Self:
        deadline = time.monotonic() + _START_SECONDS
        while not (found := _LISTENING.search(self._log.read_text())):
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.05)
        self.port = int(found[1])
        return self

    def __exit__(self, *args: object) -> None:
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Answer(NamedTuple):
    """An answer. headers: their names in lower case. seconds: from the first to the last of the body's lines."""

    status: int
    headers: dict[str, str]
    text: str
    seconds: float


class Browser:
    """Keeps cookies, and asks for gzip as browsers do."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._cookies: SimpleCookie = SimpleCookie()

    def sign_in(self) -> None:
        """Sign in by the site's form."""
        self.ask("GET", "/login/?next=/chat/")
        form = {"username": EMAIL, "password": PASSWORD, "next": "/chat/"}
        answer = self.ask("POST", "/login/", urlencode(form), "application/x-www-form-urlencoded")

        assert (answer.status, answer.headers.get("location")) == (302, "/chat/"), answer

    def ask(self, method: str, path: str, body: str | None = None, kind: str = "application/json") -> Answer:
        """Return the answer, read line by line."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        headers = {"Cookie": "; ".join(f"{name}={cookie.value}" for name, cookie in self._cookies.items())}
        if body is not None:
            headers |= {"Content-Type": kind, "X-CSRFToken": self._cookies["csrftoken"].value}
        encoding = {"Accept-Encoding": "gzip"} if "/api/" in path else {}
        connection.request(method, path, body, headers | encoding)
        response = connection.getresponse()
        for value in response.headers.get_all("set-cookie", []):
            self._cookies.load(value)
        lines, times = [], []
        while line := response.readline():
            lines.append(line)
            times.append(time.monotonic())
        connection.close()
        named = {name.lower(): value for name, value in response.getheaders()}
        content = b"".join(lines)
        content = gzip.decompress(content) if named.get("content-encoding") == "gzip" else content
        seconds = times[-1] - times[0] if times else 0.0
        return Answer(response.status, named, content.decode(), seconds)


def _check(browser: Browser) -> dict[str, Any]:
    """Send, read the reply, and look at the chat's pages. Return what the first event of the reply says."""
    refused = browser.ask("POST", "/chat/api/messages", "{}")

    assert refused.status == 422, refused

    streamed = browser.ask("POST", "/chat/api/messages", json.dumps({"content": "Will it rain?"}))
    frames = [json.loads(line[6:]) for line in streamed.text.split("\n") if line.startswith("data: {")]
    start, text = frames[0], "".join(frame["text"] for frame in frames)

    assert streamed.status == 200, streamed
    assert streamed.text.endswith("data: [DONE]\n\n"), streamed.text[-300:]
    assert streamed.headers["content-encoding"] == "identity"
    assert streamed.headers["x-people"] == "1"
    # The demo writes 30 words a second: a reply that was held back would come at once.
    assert streamed.seconds > 0.3, streamed.seconds

    _check_saved(browser, start, text)
    for path in ("/chat/", f"/chat/c/{start['conversation']}"):
        _check_page(browser, path)
    return start


def _check_saved(browser: Browser, start: dict[str, Any], text: str) -> None:
    answer = browser.ask("GET", f"/chat/api/messages/{start['message']}/events?after=0")
    replayed = "".join(json.loads(line[6:])["text"] for line in answer.text.split("\n") if line.startswith("data: {"))

    assert text
    assert replayed == text


def _check_page(browser: Browser, path: str) -> str:
    page = browser.ask("GET", path)

    assert page.status == 200, (path, page.status)
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert not _INLINE.search(page.text), (path, _INLINE.search(page.text))
    return page.text


def _check_admin(browser: Browser, start: dict[str, Any]) -> None:
    transcript = _check_page(browser, f"/admin/streaming_chat/conversation/{start['conversation']}/change/")

    assert "Will it rain?" in transcript

    people = browser.ask("GET", "/admin/people/person/").text
    person = re.search(r"/admin/people/person/([0-9a-f-]{36})/change/", people)

    assert person, people
    assert f"conversation/?owner_key=u:{person[1]}" in browser.ask("GET", person[0]).text

    _check_owner(browser, f"/admin/streaming_chat/conversation/owner/u:{person[1]}/", person[0])


def _check_owner(browser: Browser, owner: str, account: str) -> None:
    """Block and unblock this owner. owner, account: addresses of pages in the admin."""
    assert account in _check_page(browser, owner)
    for action, form, status in (("block", {"reason": "Spam"}, 403), ("unblock", {}, 200)):
        done = browser.ask("POST", f"{owner}{action}/", urlencode(form), "application/x-www-form-urlencoded")
        sent = browser.ask("POST", "/chat/api/messages", json.dumps({"content": "Hi", "stream": False}))

        assert (done.status, done.headers.get("location"), sent.status) == (302, owner, status), (done, sent)
