"""Every request to the API × its access token: a token is judged alone, whatever the cookie next to it says."""

from datetime import timedelta
from typing import Any

from django.test import Client
from django.utils import timezone

from streaming_chat.models import AccessToken, Conversation

from .factories import make_token, make_user
from .native import code_of
from .test_csrf_matrix import API, BODILESS, JSON, REFUSED, TOKEN, UNKNOWN, MatrixTests
from .test_owner_matrix import KINDS, OF, body

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
SAFE = ("GET", "HEAD")
ACCEPTED = {200, 201, 202, 204, 404}
# Without what they require in their query string.
QUERIED = {("GET", "chat/api/messages"), ("HEAD", "chat/api/messages")}


class TokenMatrixTests(MatrixTests):
    def all_requests(self) -> list[tuple[str, str]]:
        """Return every method of every address that takes it."""
        asked = [(method, route) for route in API for method in METHODS if self.takes(method, route)]

        assert len(asked) >= 50, asked
        assert {route for _method, route in asked} == set(API)

        return asked

    def ask_with(self, header: str, method: str, route: str, client: Client | None = None, type: str = JSON) -> Any:
        client = client or Client(enforce_csrf_checks=True)
        return self.ask(client, method, route, type, Authorization=header)

    def refusals(self, method: str, route: str) -> set[int]:
        """Return with what an address refuses this request of a token that is good."""
        return {422} if route in REFUSED or (method, route) in QUERIED else set()

    def bad_headers(self) -> dict[str, str]:
        """Return headers that must not be accepted, by what is wrong."""
        good = make_token()
        revoked, inactive = make_token(), make_token(make_user("gone", is_active=False))
        AccessToken.objects.get(prefix=revoked[3:11]).delete()
        expired = make_token(expires_at=timezone.now() - timedelta(seconds=1))
        return {
            "empty": "",
            "no token": "Bearer",
            "another scheme": f"Token {good}",
            "no scheme": good,
            "two": f"Bearer {good}, Bearer {good}",
            "unknown": f"Bearer sc_{'a' * 8}_{'b' * 32}",
            "another secret": f"Bearer {good[:12]}{'b' * 32}",
            "longer": f"Bearer {good}a",
            "a line break": f"Bearer {good}\n",
            "not ASCII": "Bearer sc_aaaaaaaa_" + "é" * 32,
            "expired": f"Bearer {expired}",
            "revoked": f"Bearer {revoked}",
            "of an inactive owner": f"Bearer {inactive}",
        }

    def test_no_other_token_is_accepted_even_with_a_session_and_its_csrf_token(self):
        headers = self.bad_headers()
        client = self.client_of(token=TOKEN)
        for method, route in self.all_requests():
            for name, header in headers.items():
                with self.subTest(method=method, route=route, token=name):
                    both = {"X-CSRFToken": TOKEN, "Authorization": header}
                    response = self.ask(client, method, route, **both)

                    assert response.status_code == 401
                    assert response["WWW-Authenticate"] == 'Bearer realm="streaming_chat", error="invalid_token"'
                    assert method == "HEAD" or code_of(response) == "invalid_token"
        assert self.rows() == self.before

    def test_a_token_needs_neither_cookie_nor_csrf_token(self):
        header = f"Bearer {make_token()}"
        for method, route in self.all_requests():
            with self.subTest(method=method, route=route):
                response = self.ask_with(header, method, route)
                body(response)

                assert response.status_code in ACCEPTED | self.refusals(method, route), response.content
                assert not response.cookies

    def test_the_session_next_to_a_token_does_not_count(self):
        """The browser is bo's, the token is ana's."""
        client = Client(enforce_csrf_checks=True)
        client.force_login(make_user("bo"))
        response = self.ask_with(f"Bearer {make_token()}", "POST", "chat/api/messages", client)
        body(response)

        assert [conversation.owner for conversation in Conversation.objects.all()] == [self.user, self.user]

    def test_a_token_of_somebody_else_finds_nothing(self):
        header = f"Bearer {make_token(make_user('bo'))}"
        for method, route in self.all_requests():
            if KINDS[route] == OF:
                with self.subTest(method=method, route=route):
                    assert self.ask_with(header, method, route).status_code in {404, 405}
        assert self.rows() == self.before

    def test_one_that_may_only_read_changes_nothing(self):
        header = f"Bearer {make_token(scope='read')}"
        for method, route in self.all_requests():
            with self.subTest(method=method, route=route):
                response = self.ask_with(header, method, route)
                body(response)

                if method in SAFE:
                    assert response.status_code in ACCEPTED | self.refusals(method, route)
                else:
                    assert (response.status_code, code_of(response)) == (403, "insufficient_scope")
                    assert 'error="insufficient_scope"' in response["WWW-Authenticate"]
        assert self.rows() == self.before

    def test_only_json_is_read(self):
        header = f"Bearer {make_token()}"
        for method, route in self.requests():
            if method in BODILESS or route in UNKNOWN:
                continue
            for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
                with self.subTest(method=method, route=route, content_type=content_type):
                    response = self.ask_with(header, method, route, type=content_type)

                    assert (response.status_code, code_of(response)) == (415, "unsupported_media_type")
        assert self.rows() == self.before

    def test_what_a_browser_adds_by_itself_changes_nothing(self):
        """As behind a web server with a password: the session counts, and needs its CSRF token."""
        for header in ("Basic YTpi", "Negotiate YII=", "digest username=a", "NTLM TlR="):
            with self.subTest(header):
                client = self.client_of(token=TOKEN)
                read = self.ask_with(header, "GET", "chat/api/conversations", client)
                forged = self.ask_with(header, "POST", "chat/api/messages", client)
                without = self.ask_with(header, "GET", "chat/api/conversations")

                assert (read.status_code, len(read.json()["results"])) == (200, 1)
                assert (forged.status_code, code_of(forged)) == (403, "csrf_failed")
                assert (without.status_code, code_of(without)) == (401, "not_signed_in")
                assert without["WWW-Authenticate"] == 'Bearer realm="streaming_chat"'

    def test_pages_are_judged_by_it_too(self):
        client = self.client_of()
        for path in ("/chat/", f"/chat/c/{self.reply.conversation_id}?view=plain"):
            good = client.get(path, headers={"Authorization": f"Bearer {make_token()}"})
            bad = client.get(path, headers={"Authorization": "Bearer x"})

            assert (good.status_code, bad.status_code) == (200, 302)
