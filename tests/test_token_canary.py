"""An access token is in no log, page, export or table, whatever its requests do. Eleven places are searched for it.

The log of the server, the log of the app with its SQL, what `chatdoctor` prints, Django's error page in HTML and in text,
the mail about an error, all tables, the pages of the chat and of the admin, all exports, telemetry, and what the provider
is sent.
"""

import logging.config
import re
import tempfile
from contextlib import contextmanager
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlencode
from zipfile import ZipFile

import pytest
from django.conf import settings
from django.contrib.auth.models import Permission
from django.core import mail
from django.core.management import call_command
from django.db import DatabaseError, connection
from django.test import Client, TestCase, TransactionTestCase, override_settings

from streaming_chat.accounts.permissions import Permissions
from streaming_chat.models import AccessToken
from streaming_chat.testing import scripted_provider
from tests.engine import test_telemetry as telemetry

from .factories import make_conversation, make_reply, make_staff, make_token
from .native import Api
from .servers import Browser, ProcessServer, ServerTestCase, wait_until
from .test_searches_in_logs import LOGGING

TOKENS = "/chat/tokens"
ADD = "/admin/streaming_chat/accesstoken/add/"
FORM = {"name": "Phone", "scope": "chat", "days": "30"}
MESSAGES = [{"role": "user", "content": "Hi"}]
BODIES = {
    "api/messages": {"content": "Hi", "stream": False},
    "v1/chat/completions": {"model": "demo:demo", "messages": MESSAGES},
    "ai/chat": {"id": "mine", "messages": MESSAGES},
    "ai/ag_ui": {"threadId": "mine", "runId": "r", "messages": MESSAGES},
}
# As the page and the admin show a new token.
SHOWN = re.compile(r'<code[^>]*dir="ltr">(sc_\w{8}_\w{32})</code>')


def create(client: Client, path: str) -> str:
    """Return the page after a token was created, as a browser's form does it."""
    return client.post(path, urlencode(FORM), content_type="application/x-www-form-urlencoded").text


def secret_of(token: str) -> str:
    """Return the part that nobody may see; the beginning is shown in lists."""
    return token.rpartition("_")[2]


class Failing(Permissions):
    """Fails for every page, after the request has been authenticated."""

    def may_read(self, request: Any, owner: Any) -> bool:
        raise RuntimeError("on purpose")


@contextmanager
def failing(table: str, verb: str) -> Any:
    """Let the database fail at statements about a table."""

    def execute(call: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith(verb) and table in sql:
            raise DatabaseError("on purpose")
        return call(sql, params, many, context)

    with connection.execute_wrapper(execute):
        yield


@pytest.mark.slow
class LogTests(TransactionTestCase):
    def test_no_log_of_the_server_or_the_app_has_it(self):
        """At DEBUG, with the SQL of each query; chatdoctor looks at the server meanwhile."""
        make_reply(make_conversation())
        good, expired = make_token(), make_token()
        AccessToken.objects.filter(prefix=expired[3:11]).delete()
        headers = [f"Bearer {good}", f"Bearer {expired}", good, f"Bearer {good}, Bearer {good}", f"Token {good}"]
        with ProcessServer({"DEBUG": True, "LOGGING": LOGGING}) as server:
            browser = Browser(server.port)
            self.addCleanup(browser.close)
            for header in headers:
                for method, path in (
                    ("GET", "api/conversations"),
                    ("POST", "api/messages"),
                    ("POST", "v1/chat/completions"),
                    ("GET", "v1/models"),
                    ("POST", "ai/chat"),
                    ("POST", "ai/ag_ui"),
                    ("GET", ""),
                    ("GET", "/x"),
                ):
                    body = BODIES.get(path) if method == "POST" else None
                    # The next request is sent when the answer to this one has begun.
                    assert browser.request(method, path, body, Authorization=header).status
            out = StringIO()
            call_command("chatdoctor", f"http://localhost:{server.port}/chat/", "--quick", stdout=out, no_color=True)
            wait_until(lambda: "/x" in server.log)
            log = server.log + out.getvalue()

        assert "streaming_chat_accesstoken" in log
        assert [line for line in log.splitlines() if secret_of(good) in line or secret_of(expired) in line] == []


@override_settings(DEBUG=True, DEBUG_PROPAGATE_EXCEPTIONS=False, ADMINS=[("Root", "root@example.com")])
class ErrorPageTests(TestCase):
    """The pages that Django shows with DEBUG, and the mails that it sends without: both show local variables."""

    def setUp(self) -> None:
        self.token = make_token()
        self.client = Client(raise_request_exception=False)

    def with_token(self, method: str, path: str, **headers: str) -> str:
        headers = {"Authorization": f"Bearer {self.token}", **headers}
        return self.client.generic(method, path, headers=headers).text

    def check(self, page: str, secret: str = "") -> None:
        assert "on purpose" in page
        assert (secret or secret_of(self.token)) not in page

    def test_a_view_that_fails_after_the_token_was_accepted(self):
        with override_settings(STREAMING_CHAT_PERMISSIONS={"BACKEND": f"{__name__}.Failing"}):
            self.check(self.with_token("GET", "/chat/"))
            self.check(self.with_token("GET", "/chat/", Accept="text/plain"))

    def test_a_database_that_fails_as_the_token_is_looked_up(self):
        with failing("streaming_chat_accesstoken", "SELECT"):
            self.check(self.with_token("GET", "/chat/"))

    def test_a_page_that_fails_as_it_shows_a_new_token(self):
        """What was created is known from the row that was to be saved, by its HMAC alone."""
        self.client.force_login(make_staff("clerk", "add_accesstoken"))
        for path, table, verb in (
            (TOKENS, "streaming_chat_accesstoken", "INSERT"),
            (ADD, "django_admin_log", "INSERT"),
        ):
            with self.subTest(path), mock.patch("secrets.choice", return_value="Q"), failing(table, verb):
                self.check(create(self.client, path), "Q" * 32)

    def test_a_mail_about_an_error(self):
        handler = {"class": "django.utils.log.AdminEmailHandler", "level": "ERROR", "include_html": True}
        mailing = {"version": 1, "disable_existing_loggers": False, "handlers": {"mail": handler}}
        logging.config.dictConfig({**mailing, "loggers": {"django.request": {"handlers": ["mail"]}}})
        self.addCleanup(logging.getLogger("django.request").handlers.clear)
        with failing("streaming_chat_accesstoken", "SELECT"), override_settings(DEBUG=False):
            self.with_token("GET", "/chat/")

        assert any(message.alternatives for message in mail.outbox)
        for message in mail.outbox:
            assert secret_of(self.token) not in message.body + str(message.alternatives)


def rows_of_all_tables() -> str:
    """Return every row of the database, as text."""
    with connection.cursor() as cursor:
        found = []
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')  # noqa: S608  (the names are the database's own)
            found += [table, str(cursor.fetchall())]
    return "\n".join(found)


class KeptTests(TestCase):
    """What is kept, exported and shown after tokens were created in each way, used and revoked."""

    def setUp(self) -> None:
        root = make_staff("root", "add_accesstoken", "view_accesstoken", "delete_accesstoken", "view_accessrecord")
        root.user_permissions.add(*Permission.objects.filter(codename__in=["view_conversation", "view_transcript"]))
        self.client.force_login(root)
        self.of_root = [SHOWN.search(create(self.client, path))[1] for path in (TOKENS, ADD)]
        make_reply(make_conversation())
        out = StringIO()
        call_command("createtoken", "ana", "--name", "Script", stdout=out)
        self.tokens = [*self.of_root, out.getvalue().strip()]

    def test_each_is_valid(self):
        for token in self.tokens:
            response = Client().get("/chat/api/conversations", headers={"Authorization": f"Bearer {token}"})

            assert response.status_code == 200

    def absent(self, text: str) -> None:
        assert [token for token in self.tokens if secret_of(token) in text] == []

    def use(self) -> None:
        for token in self.tokens:
            api = Api()
            api.client.defaults["HTTP_AUTHORIZATION"] = f"Bearer {token}"
            with scripted_provider():
                api.send("Hi")
                for path, body in BODIES.items():
                    response = api.post(path, {**body, "model": "scripted:model"})

                    assert response.status_code == 200
                    response.getvalue()

    def test_the_database_has_none_of_them(self):
        """All tables: sessions, messages, access records and the admin's log are among them."""
        self.use()
        self.client.get("/admin/streaming_chat/accesstoken/")
        AccessToken.objects.filter(prefix=self.of_root[0][3:11]).delete()
        kept = rows_of_all_tables()

        self.absent(kept)
        assert f"sc_{self.of_root[1][3:11]}" in kept
        assert all(table in kept for table in ("django_session", "django_admin_log", "streaming_chat_accessrecord"))

    def test_no_page_shows_one_again(self):
        self.use()
        pk = AccessToken.objects.get(prefix=self.of_root[1][3:11]).pk
        addresses = [TOKENS, "/admin/", *(f"/admin/streaming_chat/{name}/" for name in ("accesstoken", "accessrecord"))]
        for address in [*addresses, f"/admin/streaming_chat/accesstoken/{pk}/delete/"]:
            with self.subTest(address):
                page = self.client.get(address)

                assert page.status_code == 200
                self.absent(page.text)

    def test_exports_have_none_of_them(self):
        self.use()
        with tempfile.TemporaryDirectory() as folder:
            for name, command in {"owner": ["exportowner", "ana"], "all": ["exporttranscripts"]}.items():
                call_command(*command, "--output", f"{folder}/{name}", stdout=StringIO())
            exported = [path.read_text() for path in Path(folder).iterdir() if not path.suffix]

        for token in self.tokens:
            api = Api()
            api.client.defaults["HTTP_AUTHORIZATION"] = f"Bearer {token}"
            archive = ZipFile(BytesIO(api.get("api/export").getvalue()))
            downloads = [archive.read(name).decode() for name in archive.namelist()]

            assert downloads
            self.absent("".join([*archive.namelist(), *downloads]))
        assert len(exported) == 2
        for text in exported:
            assert "Rain in Lisbon" in text
            self.absent(text)


@override_settings(STREAMING_CHAT_TELEMETRY=True, MIDDLEWARE=[f"{telemetry.__name__}.traced", *settings.MIDDLEWARE])
class TelemetryTests(ServerTestCase):
    def test_no_span_and_no_metric_has_it(self):
        token = make_token()
        browser = Browser(self.server.port, session="")
        self.addCleanup(browser.close)
        telemetry.SPANS.clear()
        sent = browser.request("POST", "api/messages", {"content": "Hi"}, Authorization=f"Bearer {token}").rest()
        self.ended(sent.message_id)
        assert browser.request("GET", "api/conversations", Authorization=f"Bearer x{token}").status == 401
        wait_until(lambda: any(span.name == "streaming_chat.reply" for span in telemetry.SPANS.get_finished_spans()))

        assert secret_of(token) not in telemetry.everything()

    def test_no_request_to_the_provider_has_it(self):
        token = make_token()
        browser = Browser(self.server.port, session="")
        self.addCleanup(browser.close)
        for path, body in BODIES.items():
            sent = browser.post(path, {**body, "model": "openai:any"}, Authorization=f"Bearer {token}")

            assert sent.status == 200
            sent.json() if "content-length" in sent.headers else sent.body()
        calls = self.provider.calls

        assert len(calls) == len(BODIES)
        assert secret_of(token) not in "".join(f"{call.headers} {call.body}" for call in calls)
