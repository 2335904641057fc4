"""Every unsafe request to the API × its token, and × the type of its body: refused in JSON, before anything is changed."""

import uuid
from typing import Any

from django.conf import settings
from django.contrib.sessions.models import Session
from django.test import Client, override_settings

from streaming_chat.models import Conversation, Message, ShareLink

from .factories import make_conversation, make_reply, make_token
from .native import ROOT, Api, ApiTestCase, code_of
from .openapi import check_answer
from .test_owner_matrix import ACCOUNT, BODIES, KINDS, OPEN, PAGE, PAGE_OF, PROGRAM, body, encoded, filled

UNSAFE = ("POST", "PUT", "PATCH", "DELETE")
JSON = "application/json"
TOKEN = "a" * 32
# These read no body, whatever its type: nothing follows from it.
BODILESS = {"DELETE"}
UNKNOWN = {"chat/^api(?:/[\\s\\S]*)?\\Z", "chat/^v1(?:/[\\s\\S]*)?\\Z"}
# Every address of the app but its pages; tests/test_owner_matrix.py fails for one that is not entered there.
API = [
    route for route, kind in KINDS.items() if route.startswith("chat/") and kind not in (OPEN, PAGE, PAGE_OF, ACCOUNT)
]
# Addresses for tokens alone look at no session.
CSRF_FAILED, TOKEN_REQUIRED = (403, "csrf_failed"), (401, "token_required")
# 422 is the answer to a good body: a reply that has ended is not continued, and its calls wait for no answer.
REFUSED = {f"chat/api/messages/<uuid:message_id>/{action}" for action in ("continue", "answers")}


def without_middleware() -> override_settings:
    """Return the settings of a site that has no CSRF middleware."""
    return override_settings(MIDDLEWARE=[name for name in settings.MIDDLEWARE if "Csrf" not in name])


@override_settings(STREAMING_CHAT_SHARING=True)
class MatrixTests(ApiTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.reply = make_reply(make_conversation())
        self.before = self.rows()

    def rows(self) -> list[Any]:
        return [
            row
            for model in (Conversation, Message, ShareLink)
            for row in model._default_manager.order_by("pk").values_list()
        ]

    def requests(self) -> list[tuple[str, str]]:
        """Return every unsafe method of every address of the API that takes it."""
        return [(method, route) for route in API for method in UNSAFE if self.takes(method, route)]

    def takes(self, method: str, route: str) -> bool:
        # 405 comes before everything else, so who asks does not matter; without a token nothing is done.
        return Client(enforce_csrf_checks=True).generic(method, self.path(route)).status_code != 405

    def path(self, route: str) -> str:
        row = self.reply.pk if "message_id" in route else self.reply.conversation_id
        return "/" + filled(route, row, self.user.pk)

    def ask(self, client: Client, method: str, route: str, content_type: str = JSON, **headers: str) -> Any:
        """Send a request, whose answer openapi.json describes."""
        data, _type = encoded(client, BODIES.get(f"{method} {route}", {}))
        path = self.path(route)
        response = client.generic(method, path, data, content_type, headers=headers)
        check_answer(method, path.removeprefix(ROOT), response)
        return response

    def unsafe(self, route: str) -> tuple[Client, dict[str, str]]:
        """Return a client of ana's, and the headers with which an address takes its unsafe requests."""
        if KINDS[route] == PROGRAM:
            return Client(enforce_csrf_checks=True), {"Authorization": f"Bearer {make_token()}"}
        return self.client_of(token=TOKEN), {"X-CSRFToken": TOKEN}

    def client_of(self, *, token: str = "", in_session: bool = False) -> Client:
        """Return ana's browser, with a token in its cookie or its session."""
        client = Client(enforce_csrf_checks=True)
        self.sign_in(client)
        if token and in_session:
            session = client.session
            session["_csrftoken"] = token
            session.save()
        elif token:
            client.cookies[settings.CSRF_COOKIE_NAME] = token
        return client

    def sign_in(self, client: Client) -> None:
        client.force_login(self.user)


class CsrfTests(MatrixTests):
    accepted = frozenset({200, 201, 202, 204, 404})

    def check(self, *, in_session: bool = False) -> None:
        asked = self.requests()

        assert len(asked) >= 20, asked
        for method, route in asked:
            refusal = TOKEN_REQUIRED if KINDS[route] == PROGRAM else CSRF_FAILED
            for name, client, headers in (
                ("no token", self.client_of(), {}),
                ("no header", self.client_of(token=TOKEN, in_session=in_session), {}),
                ("no cookie", self.client_of(), {"X-CSRFToken": TOKEN}),
                ("another", self.client_of(token=TOKEN, in_session=in_session), {"X-CSRFToken": "b" * 32}),
                ("malformed", self.client_of(token=TOKEN, in_session=in_session), {"X-CSRFToken": "a"}),
                (
                    "another site",
                    self.client_of(token=TOKEN, in_session=in_session),
                    {"X-CSRFToken": TOKEN, "Origin": "https://evil.example"},
                ),
            ):
                with self.subTest(method=method, route=route, token=name):
                    response = self.ask(client, method, route, **headers)

                    assert (response.status_code, code_of(response)) == refusal
        assert self.rows() == self.before
        for method, route in asked:
            with self.subTest(method=method, route=route, token="good"):
                client = self.client_of(token=TOKEN, in_session=in_session)
                response = self.ask(client, method, route, **{"X-CSRFToken": TOKEN})
                body(response)
                self.check_taken(route, response)

    def check_taken(self, route: str, response: Any) -> None:
        """Assert that the request was judged beyond its CSRF token."""
        if KINDS[route] == PROGRAM:
            assert (response.status_code, code_of(response)) == TOKEN_REQUIRED
        elif response.status_code == 403:
            # Visitors may not share.
            assert code_of(response) == "forbidden"
        else:
            assert response.status_code in self.accepted | ({422} if route in REFUSED else set()), response.content

    def test_with_the_sites_middleware(self):
        self.check()

    def test_without_it(self):
        with without_middleware():
            self.check()

    def test_with_tokens_in_sessions(self):
        with override_settings(CSRF_USE_SESSIONS=True):
            self.check(in_session=True)

    def test_with_tokens_in_sessions_and_without_the_middleware(self):
        with override_settings(CSRF_USE_SESSIONS=True), without_middleware():
            self.check(in_session=True)


@override_settings(STREAMING_CHAT_ALLOW_ANONYMOUS=True)
class VisitorCsrfTests(CsrfTests):
    """The same of visitors: what an id makes theirs is guarded as what an account does."""

    # They have nothing to claim for.
    accepted = CsrfTests.accepted | {401}

    def setUp(self) -> None:
        super().setUp()
        self.visitor = Api()
        self.visitor.send("Hi")
        self.reply = Message.objects.get(role="assistant", conversation__owner=None)
        self.before = self.rows()

    def sign_in(self, client: Client) -> None:
        # A session of its own, since a token that is put into it would stay there.
        session = client.session
        session.update(self.visitor.client.session.items())
        session.save()


@override_settings(STREAMING_CHAT_ALLOW_ANONYMOUS=True)
class NewVisitorCsrfTests(MatrixTests):
    def test_no_session_is_made_without_a_token(self):
        before = Session.objects.count()
        for method, route in self.requests():
            response = self.ask(Client(enforce_csrf_checks=True), method, route)
            refusal = TOKEN_REQUIRED if KINDS[route] == PROGRAM else CSRF_FAILED

            assert (response.status_code, code_of(response)) == refusal
            assert settings.SESSION_COOKIE_NAME not in response.cookies
        assert Session.objects.count() == before
        assert self.rows() == self.before


class ContentTypeTests(MatrixTests):
    def reading(self) -> list[tuple[str, str]]:
        """Return the requests whose body is read."""
        return [(method, route) for method, route in self.requests() if method not in BODILESS and route not in UNKNOWN]

    def test_only_json_is_read(self):
        """A form of another site can send the first of these without asking the browser."""
        types = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
        types += ["text/json", "application/octet-stream", "application/jsonl", "json", "text/plain; charset=utf-16"]
        types += ["application/x-www-form-urlencoded; charset=utf-16", "multipart/form-data"]
        for method, route in self.reading():
            for content_type in types:
                with self.subTest(method=method, route=route, content_type=content_type):
                    client, headers = self.unsafe(route)
                    response = self.ask(client, method, route, content_type, **headers)

                    assert (response.status_code, code_of(response)) == (415, "unsupported_media_type")
        assert self.rows() == self.before

    def test_json_is_in_utf_8_whatever_its_type_says(self):
        """RFC 8259 knows no parameter of the type."""
        for method, route in self.reading():
            for charset in ("utf-8", "latin-1", "utf-16", "none", '"'):
                with self.subTest(method=method, route=route, charset=charset):
                    response = self.send(method, route, charset, "Zoë".encode())
                    body(response)

                    assert response.status_code in {200, 201, 202, 204, 404} or route in REFUSED, response.content
        sent = Message.objects.filter(role="user", text__startswith="Zo")

        assert set(sent.values_list("text", flat=True)) == {"Zoë"}

    def test_json_in_another_encoding_is_invalid(self):
        for method, route in self.reading():
            if "Taken" in str(BODIES.get(f"{method} {route}")):
                with self.subTest(method=method, route=route):
                    response = self.send(method, route, "latin-1", "Zoë".encode("latin-1"))

                    assert response.status_code == (400 if KINDS[route] == PROGRAM else 422)
        assert self.rows() == self.before

    def send(self, method: str, route: str, charset: str, text: bytes) -> Any:
        """Send the body of a request with another text in it."""
        client, headers = self.unsafe(route)
        data = encoded(client, BODIES.get(f"{method} {route}", {}))[0].encode().replace(b"Taken", text)
        path = self.path(route)
        response = client.generic(method, path, data, f"{JSON}; charset={charset}", headers=headers)
        check_answer(method, path.removeprefix(ROOT), response)
        return response


class SafeMethodTests(MatrixTests):
    def test_reading_changes_nothing(self):
        for route in API:
            for method in ("GET", "HEAD", "OPTIONS"):
                with self.subTest(method=method, route=route):
                    client = self.client_of()
                    response = client.generic(method, self.path(route))
                    body(response)
                    allowed = {401, 405} if KINDS[route] == PROGRAM else {200, 204, 404, 405, 422}

                    assert response.status_code in allowed
        assert self.rows() == self.before
        assert not self.provider.calls

    def test_an_unknown_row_is_unknown_with_a_token_too(self):
        client = self.client_of(token=TOKEN)
        path = f"/chat/api/messages/{uuid.uuid4()}/regenerate"
        response = client.post(path, {}, content_type="application/json", headers={"X-CSRFToken": TOKEN})

        assert response.status_code == 404
