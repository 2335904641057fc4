"""Requests that are refused: in which order, with which status, and without telling what there is."""

import uuid

from django.conf import settings
from django.test import override_settings

from streaming_chat.accounts.permissions import Permissions
from streaming_chat.chats.deletion import delete_for_owner
from streaming_chat.engine.runner import runner
from streaming_chat.exceptions import APIError
from streaming_chat.models import Conversation, Message
from tests.factories import make_conversation, make_live, make_reply, make_user
from tests.native import IS_ASGI, Api, ApiTestCase, error_of

UNKNOWN = uuid.UUID(int=7)


def backend(cls):
    return override_settings(STREAMING_CHAT_PERMISSIONS={"BACKEND": f"{cls.__module__}.{cls.__name__}"})


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


class UnreadableFormTests(ApiTestCase):
    """The CSRF check looks for a token in forms, before it is said that none is accepted."""

    def test_no_form_is_an_error_of_the_servers(self):
        form = "application/x-www-form-urlencoded"
        strict = Api(self.user, enforce_csrf_checks=True)
        strict.client.cookies[settings.CSRF_COOKIE_NAME] = "a" * 32
        many = "&".join(f"name{number}=1" for number in range(1_001))
        with self.assertNoLogs("streaming_chat"):
            for content_type, body in (
                (f"{form}; charset=utf-16", "content=Hi"),
                (f"{form}; charset=latin-1", "content=Hi"),
                (form, many),
                ("multipart/form-data", "x"),
                ("multipart/form-data; boundary=" + "x" * 300, "x"),
            ):
                for path in ("api/messages", "api/chat", "api/conversations/search"):
                    with self.subTest(content_type[:50], path=path):
                        response = strict.ask("POST", path, body, content_type=content_type)

                        assert (response.status_code, error_of(response)["code"]) == (415, "unsupported_media_type")


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
        """`streaming_chat.asgi` reads the length first."""
        body = "{" if IS_ASGI else "{" * 2_000_000
        response = self.api.post("api/messages?format=morse", body, content_type="text/plain")

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
