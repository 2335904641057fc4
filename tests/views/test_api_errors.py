"""Refusals of the native API: their shape, their order, and what bodies may hold."""

import json
import uuid
from http.client import HTTPConnection

from django.db import OperationalError
from django.test import RequestFactory, SimpleTestCase, override_settings
from django.utils import translation
from django.utils.translation import gettext_lazy

from streaming_chat.accounts.permissions import Permissions
from streaming_chat.chats.deletion import delete_for_owner
from streaming_chat.engine.runner import runner
from streaming_chat.exceptions import APIError
from streaming_chat.models import Conversation, Message
from streaming_chat.testing import read_stream
from streaming_chat.views.api.models import models_view
from streaming_chat.views.api.responses import error_response
from tests.factories import make_conversation, make_live, make_reply, make_user
from tests.native import Api, ApiTestCase, error_of
from tests.servers import ServerTestCase

UNKNOWN = uuid.UUID(int=7)


class Closed(Permissions):
    """A site that lets nobody do anything."""

    def may_read(self, request, owner):
        return False

    def may_send(self, request, owner, conversation):
        return False

    def may_stop(self, request, owner, conversation):
        return False

    def may_use_model(self, request, owner, model):
        return False


class Metered(Permissions):
    """A site that has had enough for today."""

    def may_send(self, request, owner, conversation):
        raise APIError(429, "quota_exceeded", retry_after=3600)


def backend(cls):
    return override_settings(STREAMING_CHAT_PERMISSIONS={"BACKEND": f"{cls.__module__}.{cls.__name__}"})


class OrderTests(ApiTestCase):
    """Each request has all the faults that come later in the contract's table, too."""

    def setUp(self):
        super().setUp()
        self.stranger = Api(enforce_csrf_checks=True)
        self.strict = Api(self.user, enforce_csrf_checks=True)

    def refused(self, response, status, code):
        assert response.status_code == status, response.content

        error = error_of(response)

        assert error["code"] == code
        return error

    def test_the_method_comes_first(self):
        response = self.stranger.ask("PUT", f"api/conversations/{UNKNOWN}/messages", "{", content_type="text/plain")

        self.refused(response, 405, "method_not_allowed")
        assert response.headers["Allow"] == "GET, HEAD, POST"

    def test_then_who_asks(self):
        response = self.stranger.post("api/messages?format=morse", "{", content_type="text/plain")

        self.refused(response, 401, "not_signed_in")

    def test_then_the_csrf_token(self):
        response = self.strict.post("api/messages?format=morse", "{", content_type="text/plain")

        self.refused(response, 403, "csrf_failed")

    def test_then_the_type_of_the_body(self):
        response = self.api.post("api/messages?format=morse", "{" * 2_000_000, content_type="text/plain")

        self.refused(response, 415, "unsupported_media_type")

    def test_then_its_size(self):
        response = self.api.post("api/messages?format=morse", "{" * 2_000_000)

        self.refused(response, 413, "too_large")

    def test_then_the_format(self):
        error = self.refused(self.api.post("api/messages?format=morse", "{"), 406, "not_acceptable")

        assert "simple" in error["formats"]

    def test_then_the_shape(self):
        error = self.refused(self.api.post(f"api/conversations/{UNKNOWN}/messages", {"content": ""}), 422, "invalid")

        assert list(error["fields"]) == ["content"]

    def test_then_the_row(self):
        make_live(make_conversation(make_user("bo")))
        response = self.api.post(f"api/conversations/{UNKNOWN}/messages", {"content": "Hi", "model": "none:such"})

        self.refused(response, 404, "not_found")

    @override_settings(STREAMING_CHAT_MAX_LIVE_REPLIES_PER_OWNER=1)
    def test_then_a_live_reply_whose_name_is_told(self):
        live = make_live(make_conversation())
        response = self.api.post(f"api/conversations/{live.conversation_id}/messages", {"content": "Hi"})

        assert self.refused(response, 409, "reply_in_progress")["reply"] == str(live.pk)

    @override_settings(STREAMING_CHAT_MAX_LIVE_REPLIES_PER_OWNER=1)
    def test_then_the_limit_of_the_owner(self):
        make_live(make_conversation(), slot=0)
        self.drain()
        response = self.api.post("api/messages", {"content": "Hi"})

        self.refused(response, 429, "too_many_replies")
        assert int(response.headers["Retry-After"]) >= 1

    def test_then_whether_the_server_takes_more(self):
        self.drain()
        response = self.api.post("api/messages", {"content": "Hi"})

        self.refused(response, 503, "draining")
        assert int(response.headers["Retry-After"]) >= 1
        assert not Conversation.objects.exists()

    def test_a_full_server_says_so(self):
        with override_settings(STREAMING_CHAT_MAX_LIVE_REPLIES=0):
            response = self.api.post("api/messages", {"content": "Hi"})

        self.refused(response, 503, "full")
        assert int(response.headers["Retry-After"]) >= 1

    def test_a_full_server_takes_no_more_readers(self):
        reply = make_reply(make_conversation())
        with override_settings(STREAMING_CHAT_MAX_READERS=0):
            followed = self.api.get(f"api/messages/{reply.pk}/events")
            sent = self.api.post("api/messages", {"content": "Hi"})

        self.refused(followed, 503, "full")
        self.refused(sent, 503, "full")

    def test_a_full_server_still_stops_replies_and_lists_messages(self):
        """Both share an address or a way with streams, and are none."""
        reply = make_reply(make_conversation())
        with override_settings(STREAMING_CHAT_MAX_READERS=0):
            stopped = self.api.post(f"api/messages/{reply.pk}/stop")
            listed = self.api.get(f"api/conversations/{reply.conversation_id}/messages")

        assert [stopped.status_code, listed.status_code] == [200, 200]

    def drain(self):
        runner.is_draining = True
        self.addCleanup(setattr, runner, "is_draining", False)


class ForbiddenTests(ApiTestCase):
    @backend(Closed)
    def test_what_the_site_forbids_is_403(self):
        reply = make_reply(make_conversation())
        conversation = reply.conversation_id
        answers = [
            self.api.get("api/conversations"),
            self.api.get(f"api/conversations/{conversation}"),
            self.api.get(f"api/conversations/{conversation}/messages"),
            self.api.get(f"api/messages/{reply.pk}"),
            self.api.get(f"api/messages/{reply.pk}/events"),
            self.api.post("api/conversations"),
            self.api.post("api/messages", {"content": "Hi"}),
            self.api.post("api/chat", {"messages": [{"role": "user", "content": "Hi"}]}),
            self.api.post(f"api/conversations/{conversation}/messages", {"content": "Hi"}),
            self.api.post(f"api/messages/{reply.pk}/regenerate"),
            self.api.post(f"api/messages/{reply.pk}/stop"),
        ]

        assert [answer.status_code for answer in answers] == [403] * len(answers)
        assert {error_of(answer)["code"] for answer in answers} == {"forbidden"}
        assert Message.objects.count() == 2

    @backend(Closed)
    def test_pages_are_the_sites_own_403(self):
        response = self.api.get("")

        assert (response.status_code, response.headers["Content-Type"]) == (403, "text/html; charset=utf-8")

    @backend(Metered)
    def test_a_backend_may_answer_429(self):
        response = self.api.post("api/messages", {"content": "Hi"})

        assert response.status_code == 429
        assert error_of(response)["code"] == "quota_exceeded"
        assert response.headers["Retry-After"] == "3600"
        assert not Conversation.objects.exists()

    def test_a_model_that_is_not_for_everyone(self):
        class OnlyCheap(Permissions):
            def may_use_model(self, request, owner, model):
                return model == "scripted:model"

        globals()["OnlyCheap"] = OnlyCheap
        only = {"BACKEND": f"{__name__}.OnlyCheap"}
        with override_settings(
            STREAMING_CHAT_PERMISSIONS=only, STREAMING_CHAT_MODELS=["scripted:model", "scripted:dear"]
        ):
            dear = self.api.post("api/messages", {"content": "Hi", "model": "scripted:dear"})
            models = self.api.get("api/models").json()["results"]

        assert (dear.status_code, error_of(dear)["code"]) == (403, "forbidden")
        assert [model["id"] for model in models] == ["scripted:model"]


class BodyTests(ApiTestCase):
    def fields(self, body, path="api/messages"):
        response = self.api.post(path, body)

        assert response.status_code == 422, response.content
        return error_of(response)["fields"]

    def test_unknown_keys_are_named(self):
        assert list(self.fields({"content": "Hi", "contents": "Hi", "temperature": 2})) == ["contents", "temperature"]

    def test_what_is_missing_is_named(self):
        assert list(self.fields({})) == ["content"]

    def test_bodies_that_are_no_json_object(self):
        for body in (" ", "{", "null", "[]", '"Hi"', b"\xff\xfe{", "{}{}", "{'content': 1}"):
            with self.subTest(body=body):
                assert list(self.fields(body)) == ["body"]

    def test_what_only_python_takes_for_json(self):
        for value in ("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 20, "9" * 5_000):
            with self.subTest(value=value[:9]):
                assert list(self.fields(f'{{"metadata": {{"a": {value}}}}}', "api/conversations")) == ["body"]

    def test_deep_nesting(self):
        for depth in (33, 500, 2_000, 100_000):
            with self.subTest(depth=depth):
                body = '{"metadata": {"a": ' + "[" * depth + "]" * depth + "}}"

                assert list(self.fields(body, "api/conversations")) == ["body"]

    def test_wrong_types(self):
        wrong = {
            "content": [None, 1, True, {}, [], "", " \n\t"],
            "client_id": [None, 1, "", "a b", "é", "x" * 65, "a\n"],
            "model": [None, "", 1],
            "parent": [1, "", "none", []],
            "stream": [0, 1, "true", None],
            "disconnect": ["go", None, True, []],
        }
        for name, values in wrong.items():
            for value in values:
                with self.subTest(name=name, value=value):
                    assert list(self.fields({"content": "Hi", name: value})) == [name]

    @override_settings(STREAMING_CHAT_MAX_MESSAGE_CHARS=5)
    def test_a_message_is_measured_in_code_points(self):
        assert self.api.send("🎉" * 5).end["status"] == "completed"
        assert list(self.fields({"content": "🎉" * 6})) == ["content"]

    def test_a_body_at_the_limit_is_taken(self):
        body = json.dumps({"content": "x"})
        body += " " * (1_048_576 - len(body))

        assert read_stream(self.api.post("api/messages", body)).text
        assert self.api.post("api/messages", body + " ").status_code == 413

    @override_settings(STREAMING_CHAT_MAX_MESSAGE_CHARS=100_000)
    def test_the_longest_message_fits(self):
        assert self.api.send("🎉" * 100_000).end["status"] == "completed"

    @override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=1_000)
    def test_djangos_own_limit_is_413_too(self):
        response = self.api.post("api/messages", {"content": "x" * 2_000})

        assert response.status_code == 413
        assert error_of(response)["code"] == "too_large"

    def test_text_that_no_database_takes_is_stored_cleanly(self):
        """PostgreSQL refuses NUL; no UTF-8 has lone surrogates; a pair written as two escapes is one character."""
        self.provider.default.deltas = ["a\0b", "\ud83c", "\udf89", "\udc00"]
        reply = self.api.reply("x\0y \ud800 \ud83c\udf89")

        assert reply.parent.text == "xy \ufffd 🎉"
        assert reply.text == "ab🎉\ufffd"
        assert self.provider.calls[0].prompt.turns[-1].text == "xy \ufffd 🎉"
        assert reply.conversation.title == "xy \ufffd 🎉"

    def test_metadata_and_titles_are_stored_cleanly(self):
        metadata = {"k\0\ud800": ["v\0\udfff", 1.5, None]}
        made = self.api.post("api/conversations", {"title": "a\0\ud800", "metadata": metadata})

        assert made.status_code == 201
        assert made.json()["title"] == "a\ufffd"
        assert made.json()["metadata"] == {"k\ufffd": ["v\ufffd", 1.5, None]}

    def test_faults_are_written_cleanly(self):
        assert list(self.fields('{"content": "Hi", "\\u0000\\ud800": 1}')) == ["\ufffd"]


class ChunkedBodyTests(ServerTestCase):
    def status(self, *parts):
        """Return the answer to a body that comes in chunks: nothing says its size in advance."""
        connection = HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        token = "a" * 32
        headers = {
            "Cookie": f"sessionid={self.browser.session}; csrftoken={token}",
            "X-CSRFToken": token,
            "Content-Type": "application/json",
        }
        connection.request("POST", "/chat/api/messages", iter(parts), headers, encode_chunked=True)
        response = connection.getresponse()
        response.read()
        connection.close()
        return response.status

    def test_a_body_without_content_length_is_measured(self):
        assert self.status(b'{"content": "', b"x" * 20, b'"}', b" " * 1_048_576) == 413
        assert self.status(b'{"content": "', b"x" * 20, b'"}') == 200


class NotFoundTests(ApiTestCase):
    def test_foreign_and_unknown_are_the_same(self):
        reply = make_reply(make_conversation(make_user("bo")))
        for path, foreign in (
            ("api/conversations/{}", reply.conversation_id),
            ("api/conversations/{}/messages", reply.conversation_id),
            ("api/messages/{}", reply.pk),
            ("api/messages/{}/events", reply.pk),
        ):
            answers = [self.api.get(path.format(pk)) for pk in (foreign, UNKNOWN)]

            assert [answer.status_code for answer in answers] == [404, 404]
            assert answers[0].content == answers[1].content

    def test_no_address_of_the_api_answers_in_html_or_redirects(self):
        for path in ("api/", "api/message", "api/messages/", f"api/messages/{UNKNOWN}/", "api/messages/NOT-A-UUID"):
            for method in ("GET", "POST"):
                with self.subTest(path=path, method=method):
                    response = self.api.ask(method, path, {})

                    assert response.status_code == 404
                    assert error_of(response)["code"] == "not_found"

    def test_a_deleted_conversation_is_not_found(self):
        reply = make_reply(make_conversation())
        delete_for_owner(Conversation.objects.get().pk)

        assert self.api.get(f"api/messages/{reply.pk}").status_code == 404
        assert self.api.get(f"api/conversations/{reply.conversation_id}").status_code == 404
        assert self.api.post(f"api/messages/{reply.pk}/regenerate").status_code == 404


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
