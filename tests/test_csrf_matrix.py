"""Every unsafe request to the API × its token, and × the type of its body: refused in JSON, before anything is changed."""

import uuid
from typing import Any

from django.conf import settings
from django.contrib.sessions.models import Session
from django.test import Client, override_settings

from streaming_chat.models import Conversation, Message, ShareLink

from .factories import make_conversation, make_reply
from .native import Api, ApiTestCase, code_of
from .routes import routes
from .test_owner_matrix import BODIES, body, encoded, filled

UNSAFE = ("POST", "PUT", "PATCH", "DELETE")
TOKEN = "a" * 32
# These read no body, whatever its type: nothing follows from it.
BODILESS = {"DELETE"}
UNKNOWN = "chat/^api(?:/[\\s\\S]*)?\\Z"
API = [route for route in routes() if route.startswith(("chat/api/", "chat/ai/", "chat/^api/"))]


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

    def ask(self, client: Client, method: str, route: str, content_type: str = "", **headers: str) -> Any:
        data, json = encoded(client, BODIES.get(f"{method} {route}", {}))
        return client.generic(method, self.path(route), data, content_type or json, headers=headers)

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
    accepted = frozenset({200, 201, 202, 204, 404, 422})

    def check(self, *, in_session: bool = False) -> None:
        asked = self.requests()

        assert len(asked) >= 13, asked
        for method, route in asked:
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

                    assert (response.status_code, code_of(response)) == (403, "csrf_failed")
        assert self.rows() == self.before
        for method, route in asked:
            with self.subTest(method=method, route=route, token="good"):
                client = self.client_of(token=TOKEN, in_session=in_session)
                response = self.ask(client, method, route, **{"X-CSRFToken": TOKEN})
                body(response)

                # Visitors may not share.
                is_forbidden = response.status_code == 403 and code_of(response) == "forbidden"
                assert response.status_code in self.accepted or is_forbidden, response.status_code

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

            assert (response.status_code, code_of(response)) == (403, "csrf_failed")
            assert settings.SESSION_COOKIE_NAME not in response.cookies
        assert Session.objects.count() == before
        assert self.rows() == self.before


class ContentTypeTests(MatrixTests):
    def test_only_json_is_read(self):
        """A form of another site can send these without asking the browser first."""
        types = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json"]
        for method, route in self.requests():
            if method in BODILESS or route == UNKNOWN:
                continue
            for content_type in [*types, "application/octet-stream"]:
                with self.subTest(method=method, route=route, content_type=content_type):
                    client = self.client_of(token=TOKEN)
                    response = self.ask(client, method, route, content_type, **{"X-CSRFToken": TOKEN})

                    assert (response.status_code, code_of(response)) == (415, "unsupported_media_type")
        assert self.rows() == self.before

    def test_its_parameters_do_not_matter(self):
        client = self.client_of(token=TOKEN)
        response = self.ask(
            client, "POST", "chat/api/messages", "application/json; charset=utf-8", **{"X-CSRFToken": TOKEN}
        )

        assert response.status_code == 200
        assert b"[DONE]" in body(response)


class SafeMethodTests(MatrixTests):
    def test_reading_changes_nothing(self):
        for route in API:
            for method in ("GET", "HEAD", "OPTIONS"):
                with self.subTest(method=method, route=route):
                    client = self.client_of()
                    response = client.generic(method, self.path(route))
                    body(response)

                    assert response.status_code in {200, 204, 404, 405, 422}
        assert self.rows() == self.before
        assert not self.provider.calls

    def test_an_unknown_row_is_unknown_with_a_token_too(self):
        client = self.client_of(token=TOKEN)
        path = f"/chat/api/messages/{uuid.uuid4()}/regenerate"
        response = client.post(path, {}, content_type="application/json", headers={"X-CSRFToken": TOKEN})

        assert response.status_code == 404
