"""CSRF tokens for pages that stay open."""

from typing import Any

from django.conf import settings
from django.test import override_settings

from tests.native import Api, ApiTestCase, error_of
from tests.test_csrf_matrix import without_middleware


class TokenTests(ApiTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.user.set_password("sesame")
        self.user.save()
        self.api = Api(enforce_csrf_checks=True)

    def sign_in(self) -> None:
        """Sign in by the login page, which changes the token."""
        page = self.api.client.get("/accounts/login/")
        form = {"username": "ana", "password": "sesame", "csrfmiddlewaretoken": str(page.context["csrf_token"])}

        assert self.api.client.post("/accounts/login/", form).status_code == 302

    def token(self) -> str:
        return self.api.get("api/token").json()["csrf_token"]

    def send(self, token: str) -> Any:
        return self.api.post("api/messages", {"content": "Hi", "stream": False}, headers={"X-CSRFToken": token})

    def check(self) -> None:
        self.sign_in()
        stale = self.token()
        taken = self.send(stale)
        # In another tab.
        self.sign_in()
        refused = self.send(stale)
        sent = self.send(self.token())

        assert taken.status_code == 200
        assert (refused.status_code, error_of(refused)["code"]) == (403, "csrf_failed")
        assert sent.status_code == 200

    def test_a_fresh_one_works_where_the_old_one_has_expired(self):
        self.check()

    @override_settings(CSRF_USE_SESSIONS=True)
    def test_the_same_with_tokens_in_sessions(self):
        self.check()

        assert settings.CSRF_COOKIE_NAME not in self.api.client.cookies

    @override_settings(CSRF_COOKIE_HTTPONLY=True)
    def test_the_same_with_cookies_that_no_script_can_read(self):
        self.check()

        assert self.api.client.cookies[settings.CSRF_COOKIE_NAME]["httponly"]

    def test_it_sets_the_cookie_where_there_is_none(self):
        for case in (override_settings(), without_middleware()):
            with self.subTest(case=case), case:
                self.api = Api(self.user, enforce_csrf_checks=True)
                token = self.token()

                assert settings.CSRF_COOKIE_NAME in self.api.client.cookies
                assert self.send(token).status_code == 200

    def test_it_is_kept_by_no_cache(self):
        self.sign_in()
        response = self.api.get("api/token")

        assert response.headers["Cache-Control"] == "no-store"
        assert "Cookie" in response.headers["Vary"]

    def test_whoever_is_not_signed_in_gets_none(self):
        response = self.api.get("api/token")

        assert (response.status_code, error_of(response)["code"]) == (401, "not_signed_in")
        assert not self.api.client.cookies
