"""Each address that begins a reply, in any API, has the same caps and quotas; a refused request leaves no row."""

from contextlib import ExitStack
from typing import Any

from django.test import override_settings

from streaming_chat.accounts.owners import user_key
from streaming_chat.engine.access_guard import access_guard
from streaming_chat.engine.runner import runner
from streaming_chat.models import Conversation, LiveReply, Message, QuotaUse
from streaming_chat.testing import Script, leave_stream
from streaming_chat.views.api.openapi import document
from streaming_chat.views.api.parsing import max_body_bytes
from tests.factories import make_conversation, make_live, make_reply, make_token
from tests.native import ApiTestCase, code_of

COMPLETIONS = "v1/chat/completions"
STATELESS = ("api/chat", COMPLETIONS)
DATABASE = "streaming_chat.quotas.database.DatabaseQuota"
# What begins a reply in a conversation, or goes on with one, and is tested beside the native API; a share link is none.
OF_A_CONVERSATION = {
    "api/conversations/{conversation_id}/messages",
    "api/conversations/{conversation_id}/share",
    "api/messages/{message_id}/regenerate",
    "api/messages/{message_id}/continue",
    "api/messages/{message_id}/answers",
}
# How OpenAI's API answers what is invalid.
INVALID = {COMPLETIONS: 400}


def sends(text: str = "Hi") -> dict[str, dict[str, Any]]:
    """Return a request that begins a conversation, by its address."""
    message = {"role": "user", "content": text}
    return {
        "api/messages": {"content": text},
        "api/chat": {"messages": [message]},
        "ai/chat": {"id": "mine", "messages": [message]},
        "ai/ag_ui": {"threadId": "mine", "runId": text, "messages": [{"id": "m", **message}]},
        COMPLETIONS: {"model": "scripted:model", "messages": [message]},
    }


class SenderTests(ApiTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.bearer = {"Authorization": f"Bearer {make_token(self.user)}"}

    def send(self, path: str, text: str = "Hi", **body: Any) -> Any:
        """Send, and read the answer to its end."""
        headers = self.bearer if path == COMPLETIONS else {}
        response = self.api.post(path, {**sends(text)[path], **body}, headers=headers)
        if response.streaming:
            response.getvalue()
        return response

    def check(self, status: int, code: str, text: str = "Hi", *, statuses: dict[str, int] | None = None) -> None:
        """Assert that each address refuses to send. statuses: by address, where one has another status."""
        before = Conversation.objects.count(), Message.objects.count(), LiveReply.objects.count()
        for path in sends():
            with self.subTest(path):
                response = self.send(path, text)

                assert response.status_code == (statuses or {}).get(path, status)
                self.check_code(response, code)
                assert status not in (429, 503) or int(response.headers["Retry-After"]) > 0
        assert (Conversation.objects.count(), Message.objects.count(), LiveReply.objects.count()) == before
        assert self.provider.calls == []

    def check_code(self, response: Any, code: str) -> None:
        """The AI SDK gets a text alone, in which a quota says more than its code's."""
        if code != "quota_exceeded" or response.headers["Content-Type"] == "application/json":
            assert code_of(response) == code
        else:
            assert "Try again" in response.content.decode()

    def test_every_address_that_begins_a_reply_is_here(self):
        beginning = {
            path[1:]
            for path, operations in document()["paths"].items()
            if "409" in str(operations.get("post", {}).get("responses"))
        }

        assert beginning - OF_A_CONVERSATION == set(sends())

    def test_each_sends(self):
        for path in sends():
            assert self.send(path).status_code == 200, path
        assert len(self.provider.calls) == len(sends())

    @override_settings(STREAMING_CHAT_MAX_MESSAGE_CHARS=5)
    def test_the_length_of_a_message(self):
        self.check(422, "invalid", "123456", statuses=INVALID)

    def test_the_size_of_a_body(self):
        self.check(413, "too_large", "x" * max_body_bytes())

    @override_settings(STREAMING_CHAT_MAX_LIVE_REPLIES_PER_OWNER=1)
    def test_the_live_replies_of_an_owner(self):
        make_live(make_conversation(), slot=0)
        self.check(429, "too_many_replies")

    @override_settings(STREAMING_CHAT_MAX_LIVE_REPLIES=0)
    def test_the_live_replies_of_a_process(self):
        self.check(503, "full")

    @override_settings(STREAMING_CHAT_MAX_READERS=0)
    def test_the_streams_of_a_process(self):
        self.check(503, "full")

    @override_settings(STREAMING_CHAT_MAX_READERS=40, STREAMING_CHAT_MAX_LIVE_REPLIES_PER_OWNER=3)
    def test_the_streams_of_an_owner(self):
        reply = make_reply(make_conversation())
        with ExitStack() as streams:
            for _number in range(8):
                streams.callback(leave_stream, self.api.get(f"api/messages/{reply.pk}/events"))

            assert access_guard.count_of(user_key(self.user)) == 8
            self.check(429, "too_many_streams")

    def test_a_server_that_shuts_down(self):
        runner.is_draining = True
        self.addCleanup(setattr, runner, "is_draining", False)
        self.check(503, "draining")

    def test_the_replies_of_a_quota(self):
        with override_settings(STREAMING_CHAT_QUOTA={"BACKEND": DATABASE, "OPTIONS": {"owner_replies": 1}}):
            for path in sends():
                with self.subTest(path):
                    QuotaUse.objects.all().delete()
                    Conversation.objects.all().delete()
                    answers = [self.send(path, text) for text in ("One", "Two")]

                    assert [answer.status_code for answer in answers] == [200, 429]
                    self.check_code(answers[1], "quota_exceeded")
                    assert int(answers[1].headers["Retry-After"]) > 0
                    assert QuotaUse.objects.values_list("replies", "tokens").get() == (1, 11)
                    assert not Message.objects.filter(text="Two").exists()

    def test_the_tokens_of_a_quota(self):
        with override_settings(STREAMING_CHAT_QUOTA={"BACKEND": DATABASE, "OPTIONS": {"owner_tokens": 1}}):
            self.check(429, "quota_exceeded")

    @override_settings(STREAMING_CHAT_MAX_CONVERSATION_MESSAGES=2)
    def test_the_messages_of_a_conversation_that_the_client_names(self):
        for path in ("ai/chat", "ai/ag_ui"):
            with self.subTest(path):
                Conversation.objects.all().delete()
                answers = [self.send(path, text) for text in ("One", "Two")]

                assert [answer.status_code for answer in answers] == [200, 422]
                assert code_of(answers[1]) == "conversation_full"
                assert Message.objects.count() == 2

    @override_settings(STREAMING_CHAT_MAX_CONVERSATION_MESSAGES=4)
    def test_the_messages_of_a_stateless_clients_conversation(self):
        """In place of a branch of a full one, it begins another."""
        for path in STATELESS:
            with self.subTest(path):
                Conversation.objects.all().delete()
                history = [{"role": "user", "content": "One"}, {"role": "assistant", "content": "Hello, world"}]
                said = [history[:1], *([*history, {"role": "user", "content": text}] for text in ("Two", "Zwei"))]
                statuses = [self.send(path, messages=messages).status_code for messages in said]

                assert statuses == [200] * 3
                assert list(Conversation.objects.values_list("message_count", flat=True)) == [4, 4]

    def test_the_regenerations_of_a_minute(self):
        """Those of `useChat` count with the others."""
        reply = self.api.reply()
        self.provider.script(*[Script("", error="provider_auth")] * 30)
        self.send("ai/chat")
        again = {"trigger": "regenerate-message"}
        answers = [self.send("ai/chat", **again) for _number in range(10)]
        answers += [self.api.post(f"api/messages/{reply.pk}/regenerate", {"stream": False}) for _number in range(10)]
        refused = self.send("ai/chat", **again)

        assert {answer.status_code for answer in answers} == {200}
        assert (refused.status_code, code_of(refused)) == (429, "too_many_regenerations")
        assert int(refused.headers["Retry-After"]) > 0
