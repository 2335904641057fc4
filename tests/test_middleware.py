"""An APIError in a view of the site, with the middleware that answers it."""

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import TestCase, modify_settings, override_settings
from django.urls import path

from streaming_chat.exceptions import APIError
from streaming_chat.shortcuts import send_message
from tests.factories import make_user
from tests.urls import urlpatterns as suite

BROWSER = "text/html,application/xhtml+xml,*/*;q=0.8"


def ask(request: HttpRequest) -> HttpResponse:
    send_message(request.user, "Hi", model="nobody:none")
    return HttpResponse("sent")


async def wait(request: HttpRequest) -> HttpResponse:
    raise APIError(429, "quota_exceeded", "No <more> today.", retry_after=60)


def divide(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(1 / 0))


urlpatterns = [path("ask", ask), path("wait", wait), path("divide", divide), *suite]


@override_settings(ROOT_URLCONF=__name__)
@modify_settings(MIDDLEWARE={"append": "streaming_chat.middleware.APIErrorMiddleware"})
class APIErrorMiddlewareTests(TestCase):
    def test_a_client_gets_the_json_of_the_api(self):
        self.client.force_login(make_user())
        response = self.client.get("/ask")

        assert response.status_code == 422
        assert response.json()["error"]["code"] == "invalid"
        assert list(response.json()["error"]["fields"]) == ["model"]

    def test_a_browser_gets_a_page(self):
        response = self.client.get("/wait", headers={"Accept": BROWSER})

        assert (response.status_code, response.headers["Retry-After"]) == (429, "60")
        assert response.headers["Content-Type"].startswith("text/html")
        self.assertContains(response, "<h1>No &lt;more&gt; today.</h1>", status_code=429)

    def test_a_page_says_which_field_is_wrong(self):
        self.client.force_login(make_user())
        response = self.client.get("/ask", headers={"Accept": BROWSER})

        self.assertContains(response, "model: Must be one of", status_code=422)

    async def test_an_async_view_is_answered_under_asgi(self):
        response = await self.async_client.get("/wait")

        assert (response.status_code, response.json()["error"]["code"]) == (429, "quota_exceeded")

    def test_other_exceptions_are_the_sites(self):
        with pytest.raises(ZeroDivisionError):
            self.client.get("/divide")
