"""What is searched for is in no log: of uvicorn, gunicorn and nginx as docs/deployment.md shows them, and of Django."""

import http.client
import json
import re
import ssl
from typing import Any
from urllib.parse import urlencode

import pytest
from django.conf import settings
from django.test import TransactionTestCase

from .factories import make_conversation, make_staff
from .nginx import Nginx
from .search.factories import LIST, SEARCH, said
from .servers import _CSRF, TIMEOUT, Browser, ProcessServer, Supervisor, wait_until
from .test_behind_nginx import SECURE
from .test_deployment import commands

CANARY = "xylocanary"
STAFF = ("view_conversation", "view_transcript", "export_transcript")
# Everything that the process has to say, but for the whole context of a page, which Django's templates log at DEBUG.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"django": {"handlers": ["console"], "level": "DEBUG"}, "django.template": {"level": "INFO"}},
    "root": {"handlers": ["console"], "level": "DEBUG"},
}
# A browser sends them with each request, and servers log the referrer.
FORM = "application/x-www-form-urlencoded"


class Searcher:
    """Searches as an owner and as one of the staff, and follows every link on the way."""

    def __init__(self, port: int, *, is_secure: bool = False) -> None:
        self.port = port
        self.origin = f"http{'s' * is_secure}://localhost:{port}"
        self.session = ""
        self.asked: list[str] = []

    def search_as_owner(self, session: str) -> None:
        self.session = session
        found = self.ask("POST", "/chat/api/conversations/search", json.dumps({"search": CANARY}), "application/json")

        assert CANARY in found

    def search_as_staff(self, session: str) -> None:
        self.session = session
        for address in (f"{LIST}find/?owned_by=user", SEARCH):
            page = self.ask("POST", address, urlencode({"q": CANARY}))

            assert CANARY in page
            for link in self.links_of_search(page)[:12]:
                self.ask("GET", link, referer=self.asked[-1])
        assert CANARY in self.ask("POST", self.export)

    def links_of_search(self, page: str) -> list[str]:
        """Return the addresses that name the search, and keep that of the export."""
        links = [link.replace("&amp;", "&") for link in re.findall(r'(?:href|action)="([^"]*)"', page)]
        named = [link for link in links if "q=" in link or "q%3D" in link]

        assert named
        self.export = next((link for link in named if "/export/jsonl/" in link), getattr(self, "export", ""))
        return [link if link.startswith("/") else f"{self.page}{link}" for link in named if "/export/" not in link]

    def ask(self, method: str, path: str, body: str = "", content_type: str = FORM, referer: str = "") -> str:
        """Return the page that a request leads to."""
        status, location, text = self.request(method, path, body, content_type, referer)
        if status in (302, 303):
            return self.ask("GET", location, referer=path)

        assert status == 200, (status, path)
        self.page = path.partition("?")[0]
        return text

    def request(self, method: str, path: str, body: str, content_type: str, referer: str) -> tuple[int, str, str]:
        self.asked.append(path)
        cookies = {settings.SESSION_COOKIE_NAME: self.session, settings.CSRF_COOKIE_NAME: _CSRF}
        headers = {
            "Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()),
            "X-CSRFToken": _CSRF,
            "Origin": self.origin,
            "Referer": f"{self.origin}{referer or '/'}",
            "Content-Type": content_type,
        }
        connection = self.connect()
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        answer = response.status, response.headers.get("Location", ""), response.read().decode()
        connection.close()
        return answer

    def connect(self) -> http.client.HTTPConnection:
        if self.origin.startswith("https"):
            # The certificate is the test's own.
            return http.client.HTTPSConnection(
                "localhost",
                self.port,
                timeout=TIMEOUT,
                context=ssl._create_unverified_context(),  # noqa: S323
            )
        return http.client.HTTPConnection("localhost", self.port, timeout=TIMEOUT)


class SearchingTestCase(TransactionTestCase):
    def setUp(self) -> None:
        conversation = make_conversation()
        for number in range(25):
            said(f"{CANARY} {number}", conversation)
        self.owner = Browser(0, conversation.owner).session
        self.staff = Browser(0, make_staff("staff", *STAFF)).session

    def search(self, port: int, **options: Any) -> list[str]:
        searcher = Searcher(port, **options)
        searcher.search_as_owner(self.owner)
        searcher.search_as_staff(self.staff)
        return searcher.asked


@pytest.mark.slow
class ServerTests(SearchingTestCase):
    def test_no_servers_log_has_the_words(self):
        """gunicorn's commands have no access log as they are shown: here they have one."""
        for command in commands():
            logged = ["--access-logfile", "-"] if "gunicorn" in command else []
            with self.subTest(command), Supervisor({"LOGGING": LOGGING}, command=[*command, *logged]) as server:
                asked = self.search(server.port)
                wait_until(lambda server=server, asked=asked: asked[-1].partition("?")[0] in server.log)
                log = server.log

                assert log.count(f"POST {LIST}find/") == log.count("POST /chat/api/conversations/search") == 1
                assert len(asked) > 12
                assert [line for line in log.splitlines() if CANARY in line] == []


@pytest.mark.nginx
class NginxTests(SearchingTestCase):
    def test_no_log_of_nginx_has_the_words(self):
        """Debian's format, with each request's address and referrer, and what nginx says beside."""
        http = "access_log combined.log combined;\nerror_log http.log info;\n"
        server = self.enterContext(ProcessServer({**SECURE, "LOGGING": LOGGING}))
        with Nginx(server.port, http=http) as nginx:
            asked = self.search(nginx.port, is_secure=True)
            combined = nginx.folder / "combined.log"
            wait_until(lambda: asked[-1].partition("?")[0] in combined.read_text())
            logs = {path.name: path.read_text() for path in nginx.folder.glob("*.log")}

        assert logs["combined.log"].count(f'"POST {LIST}find/?owned_by=user HTTP/1.1" 302') == 1
        assert len(logs) == 4
        assert [name for name, text in logs.items() if CANARY in text] == []
        assert [line for line in server.log.splitlines() if CANARY in line] == []
