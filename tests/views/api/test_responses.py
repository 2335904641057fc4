"""What all API views share: errors as JSON, in the reader's language, also where the site has little middleware."""

import json

from django.db import OperationalError
from django.test import RequestFactory, SimpleTestCase
from django.utils import translation
from django.utils.translation import gettext_lazy

from streaming_chat.exceptions import APIError
from streaming_chat.views.api.available_models import models_view
from streaming_chat.views.api.responses import error_response
from tests.factories import make_conversation, make_live, make_reply
from tests.native import ApiTestCase


class ServerFaultTests(SimpleTestCase):
    def test_a_database_that_is_away_is_503(self):
        with self.assertLogs("streaming_chat", "ERROR") as logs:
            response = error_response(OperationalError("password=secret host=db"))

        error = json.loads(response.content)["error"]

        assert (response.status_code, error["code"], error["retryable"]) == (503, "database_away", True)
        assert response.headers["Retry-After"]
        assert error["ref"] in logs.output[0]
        assert b"secret" not in response.content

    def test_anything_else_is_500_with_a_reference(self):
        with self.assertLogs("streaming_chat", "ERROR") as logs:
            response = error_response(ZeroDivisionError("secret"))

        error = json.loads(response.content)["error"]

        assert (response.status_code, error["code"]) == (500, "internal")
        assert error["ref"] in logs.output[0]
        assert b"secret" not in response.content


class LanguageTests(SimpleTestCase):
    def test_a_message_is_translated_when_it_is_written(self):
        refusal = APIError(422, "invalid", gettext_lazy("This field is required."))
        with translation.override("de"):
            error = json.loads(error_response(refusal).content)["error"]

        assert error["message"] == "Dieses Feld ist zwingend erforderlich."


class HeadTests(ApiTestCase):
    def test_head_is_get_without_a_body(self):
        reply = make_reply(make_conversation())
        for path in ("api/conversations", f"api/messages/{reply.pk}", "api/models", "health"):
            response = self.api.ask("HEAD", path)

            assert (response.status_code, response.content) == (200, b"")

    def test_head_of_a_stream_that_is_being_written_returns_at_once(self):
        live = make_live(make_conversation())
        response = self.api.ask("HEAD", f"api/messages/{live.pk}/events")

        assert response.status_code == 200
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert not response.streaming

    def test_options_is_no_method(self):
        response = self.api.ask("OPTIONS", "api/chat")

        assert response.status_code == 405
        assert response.headers["Allow"] == "POST"


class RequestFactoryTests(SimpleTestCase):
    def test_a_site_without_authentication_middleware_has_nobody_signed_in(self):
        response = models_view(RequestFactory().get("/"))

        assert response.status_code == 401
