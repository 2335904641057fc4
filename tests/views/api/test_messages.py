"""Messages over the native API: list, read, send."""

import uuid

from django.test import override_settings

from streaming_chat.chats.deletion import delete_for_owner
from streaming_chat.models import Conversation, LiveReply, Message
from streaming_chat.protocol.events import Event
from streaming_chat.testing import Script
from tests.factories import make_conversation, make_live, make_message, make_reply, make_steady, make_user
from tests.native import Api, ApiTestCase, error_of

KEYS = {
    "id",
    "conversation",
    "parent",
    "continues",
    "role",
    "text",
    "parts",
    "status",
    "end_reason",
    "can_continue",
    "error",
    "model",
    "effort",
    "output_name",
    "output",
    "output_error",
    "finish_reason",
    "usage",
    "cost",
    "first_event_ms",
    "reasoning_ms",
    "duration_ms",
    "position",
    "created_at",
    "ended_at",
    "feedback",
    "siblings",
}
USAGE = {
    "input_tokens": 7,
    "cached_input_tokens": None,
    "cache_write_tokens": None,
    "output_tokens": 4,
    "reasoning_tokens": None,
    "estimated": False,
}


class SendTests(ApiTestCase):
    def test_a_new_conversation(self):
        streamed = self.api.send("Will it rain?")
        start = streamed.start
        reply = Message.objects.get(pk=start["message"])
        conversation = Conversation.objects.get()

        assert (str(reply.parent_id), str(conversation.pk)) == (start["user_message"], start["conversation"])
        assert (reply.parent.text, reply.parent.role, reply.parent.origin) == ("Will it rain?", "user", "server")
        assert (reply.text, reply.status, reply.provider, reply.model) == (
            "Hello, world",
            "completed",
            "scripted",
            "scripted:model",
        )
        assert (conversation.title, conversation.model, conversation.head) == ("Will it rain?", "scripted:model", reply)
        assert (conversation.message_count, conversation.last_status) == (2, "completed")
        assert (conversation.input_tokens, conversation.output_tokens) == (7, 4)
        assert not LiveReply.objects.exists()

    def test_the_next_message_goes_after_the_head(self):
        first = self.api.reply("One")
        second = self.api.reply("Two", first.conversation)

        assert second.parent.parent == first
        assert [turn.text for turn in self.provider.calls[1].prompt.turns] == ["One", "Hello, world", "Two"]

    def test_a_parent_is_a_reply_of_the_conversation(self):
        """An edit: a sibling of what was said before."""
        first = self.api.reply("One")
        conversation = first.conversation
        self.api.send("Two", conversation)
        edit = self.api.reply("Zwei", conversation, parent=str(first.pk))
        conversation.refresh_from_db()

        assert edit.parent.parent == first
        assert conversation.head == edit
        assert [turn.text for turn in self.provider.calls[2].prompt.turns] == ["One", "Hello, world", "Zwei"]
        shown = self.api.get(f"api/messages/{edit.parent_id}").json()
        before = Message.objects.get(text="Two").pk
        assert shown["siblings"] == {"index": 2, "count": 2, "previous": str(before), "next": None}

    def test_a_parent_of_null_is_a_new_root(self):
        first = self.api.reply("One")
        root = self.api.reply("Uno", first.conversation, parent=None)

        assert root.parent.parent is None
        assert [turn.text for turn in self.provider.calls[1].prompt.turns] == ["Uno"]

    def test_other_parents_are_refused(self):
        mine, other = make_reply(make_conversation()), make_reply(make_conversation())
        for parent in (mine.parent_id, other.pk, uuid.uuid4()):
            response = self.api.post(
                f"api/conversations/{mine.conversation_id}/messages", {"content": "Hi", "parent": str(parent)}
            )

            assert (response.status_code, list(error_of(response)["fields"])) == (422, ["parent"])
        response = self.api.post("api/messages", {"content": "Hi", "parent": str(mine.pk)})

        assert response.status_code == 422
        assert Message.objects.count() == 4

    def test_without_streaming_the_whole_comes_at_once(self):
        response = self.api.post("api/messages", {"content": "Hi", "stream": False})
        body = response.json()

        assert response.status_code == 200
        assert set(body) == {"conversation", "user_message", "message"}
        assert set(body["message"]) == set(body["user_message"]) == KEYS
        assert body["message"]["text"] == "Hello, world"
        assert body["message"]["parent"] == body["user_message"]["id"]
        assert body["conversation"]["head"] == body["message"]["id"]

    def test_without_streaming_a_failed_reply_is_200_too(self):
        self.provider.script(Script([], error="provider_auth"))
        response = self.api.post("api/messages", {"content": "Hi", "stream": False})
        message = response.json()["message"]

        assert response.status_code == 200
        assert (message["status"], message["error"]["code"]) == ("failed", "provider_auth")
        assert message["error"]["ref"] == Message.objects.get(pk=message["id"]).ref

    def test_a_disconnect_policy_can_be_asked_for(self):
        for policy in ("stop", "finish"):
            assert self.api.send(disconnect=policy).end["status"] == "completed"


class ModelTests(ApiTestCase):
    def model_of(self, *args, **body):
        return self.api.reply("Hi", *args, **body).model

    @override_settings(STREAMING_CHAT_MODELS=["scripted:one", "scripted:two"])
    def test_the_first_is_the_default_and_the_last_used_stays(self):
        reply = self.api.reply("Hi")
        self.api.send("Hi", reply.conversation, model="scripted:two")
        self.api.send("Hi", reply.conversation)

        assert [call.prompt.model for call in self.provider.calls] == ["one", "two", "two"]
        assert Conversation.objects.get().model == "scripted:two"

    @override_settings(STREAMING_CHAT_MODELS=["scripted:*"])
    def test_a_wildcard_offers_any_name(self):
        assert self.model_of(model="scripted:a:b/c") == "scripted:a:b/c"
        assert self.provider.calls[0].prompt.model == "a:b/c"
        for model in ("scripted:*", "scripted:", "scripted", "other:x", ":x"):
            with self.subTest(model=model):
                response = self.api.post("api/messages", {"content": "Hi", "model": model})

                assert (response.status_code, list(error_of(response)["fields"])) == (422, ["model"])

    @override_settings(STREAMING_CHAT_MODELS=["scripted:*", "scripted:the model"])
    def test_under_a_wildcard_a_name_is_a_short_token(self):
        """It is stored and shown to staff. A name that the site lists may be anything."""
        assert self.model_of(model=f"scripted:{'x' * 100}") == f"scripted:{'x' * 100}"
        assert self.model_of(model="scripted:the model") == "scripted:the model"
        for name in ("x" * 101, "a b", "a\tb", "a\n", "é", "a\u202eb", "<b>", "a'b", "a%"):
            with self.subTest(name):
                response = self.api.post("api/messages", {"content": "Hi", "model": f"scripted:{name}"})

                assert response.status_code == 422
                assert "1 to 100 characters" in error_of(response)["fields"]["model"]

    @override_settings(STREAMING_CHAT_MODELS=["scripted:*"])
    def test_only_a_wildcard_means_that_a_model_must_be_named(self):
        assert self.api.post("api/messages", {"content": "Hi"}).status_code == 422

    def test_a_model_that_is_no_longer_offered_gives_way_to_the_default(self):
        conversation = make_conversation(model="gone:model")

        assert self.model_of(conversation) == "scripted:model"


class ReadTests(ApiTestCase):
    def test_a_finished_reply(self):
        reply = self.api.reply("Hi")
        shown = self.api.get(f"api/messages/{reply.pk}").json()

        assert set(shown) == KEYS
        assert shown["parts"] == [{"kind": "text", "text": "Hello, world"}]
        assert shown["usage"] == USAGE
        assert (shown["position"], shown["finish_reason"], shown["end_reason"]) == (13, "stop", "stop")
        assert (shown["error"], shown["cost"], shown["feedback"]) == (None, None, None)
        assert isinstance(shown["first_event_ms"], int)
        assert shown["reasoning_ms"] is None
        assert shown["duration_ms"] >= shown["first_event_ms"]
        assert shown["ended_at"] >= shown["created_at"]

    def test_how_long_a_reply_reasoned(self):
        self.provider.script(Script("Yes.", reasoning=["Let me think."]))
        shown = self.api.get(f"api/messages/{self.api.reply('Hi').pk}").json()

        assert 0 <= shown["reasoning_ms"] <= shown["duration_ms"]

    def test_the_reply_that_a_client_id_has_made(self):
        first = self.api.reply("Hi", client_id="one")
        second = self.api.reply("Ho", first.conversation, client_id="one")
        by_id = [self.api.get(f"api/messages/{reply.pk}").json() for reply in (first, second)]

        assert self.api.get("api/messages?client_id=one").json() == by_id[0]
        assert self.api.get(f"api/messages?client_id=one&conversation={first.conversation_id}").json() == by_id[1]

    def test_what_a_client_id_has_not_made_is_not_there(self):
        reply = self.api.reply("Hi", client_id="one")
        stranger = Api(make_user("bo"))

        assert self.api.get("api/messages?client_id=two").status_code == 404
        assert self.api.get(f"api/messages?client_id=one&conversation={reply.conversation_id}").status_code == 404
        assert stranger.get("api/messages?client_id=one").status_code == 404

        delete_for_owner(reply.conversation.pk)

        assert self.api.get("api/messages?client_id=one").status_code == 404

    def test_a_client_id_must_be_one(self):
        for asked, field in (
            ("", "client_id"),
            ("?client_id=a%20b", "client_id"),
            ("?client_id=a&conversation=b", "conversation"),
        ):
            response = self.api.get(f"api/messages{asked}")

            assert (response.status_code, list(error_of(response)["fields"])) == (422, [field])

    def test_a_user_message(self):
        reply = self.api.reply("Hi")
        shown = self.api.get(f"api/messages/{reply.parent_id}").json()

        assert set(shown) == KEYS
        assert (shown["role"], shown["text"], shown["status"], shown["usage"]) == ("user", "Hi", "completed", None)

    def test_a_live_reply_shows_what_has_come(self):
        live = make_live(make_conversation(), Event("reasoning", "Hm. "), Event("text", "It will"))
        shown = self.api.get(f"api/messages/{live.pk}").json()

        assert (shown["status"], shown["text"], shown["position"]) == ("streaming", "It will", 12)
        assert [part["kind"] for part in shown["parts"]] == ["reasoning", "text"]

    def test_a_dead_workers_reply_is_settled_by_who_looks(self):
        live = make_live(make_conversation(), Event("text", "It will"), expires=-1)
        make_steady()
        self.api.get(f"api/messages/{live.pk}")
        shown = self.api.get(f"api/messages/{live.pk}").json()

        assert (shown["status"], shown["error"]["code"]) == ("interrupted", "lease_expired")

    def test_the_owner_sees_a_stopped_reply_up_to_the_cut(self):
        reply = make_reply(make_conversation(), "It will rain", status="stopped", end_reason="user", cut_position=8)
        shown = self.api.get(f"api/messages/{reply.pk}").json()

        assert (shown["text"], shown["position"]) == ("It will", 8)
        assert shown["parts"] == [{"kind": "text", "text": "It will"}]


class BranchTests(ApiTestCase):
    def test_a_branch_hides_nothing(self):
        conversation = make_conversation()
        question = make_message(conversation)
        replies = [make_reply(conversation, text, parent=question) for text in ("One", "Two", "Three")]
        shown = self.api.get(f"api/conversations/{conversation.pk}/messages").json()["results"]
        indexes = {message["id"]: message["siblings"] for message in shown}

        assert [indexes[str(reply.pk)]["index"] for reply in replies] == [1, 2, 3]
        assert {indexes[str(reply.pk)]["count"] for reply in replies} == {3}
