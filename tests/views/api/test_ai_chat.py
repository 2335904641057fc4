"""`ai/chat`: the requests that `useChat` makes, and what becomes of them. tests/clients runs the real clients."""

import json
import threading
import uuid

from django.test import override_settings

from streaming_chat.accounts.merging import merge_visitor
from streaming_chat.accounts.owners import Owner, user_key
from streaming_chat.chats.branches import branch
from streaming_chat.chats.deletion import delete_for_owner
from streaming_chat.models import Conversation, LiveReply, Message
from streaming_chat.protocol.events import Event
from streaming_chat.testing import Script
from tests.factories import make_conversation, make_live, make_message, make_reply, make_user
from tests.native import Api, ApiTestCase
from tests.servers import ServerTestCase

CHAT = "chat-1"


def user(text, id="u"):
    return {"id": id, "role": "user", "parts": [{"type": "text", "text": text}]}


def assistant(id, text="Hello, world"):
    return {"id": str(id), "role": "assistant", "parts": [{"type": "text", "text": text}]}


def chunks_of(body):
    """Return what a stream says, without [DONE], which must be the end of it."""
    frames = [frame for frame in body.decode().split("\n\n") if frame]

    assert frames.pop() == "data: [DONE]"

    return [json.loads(frame.removeprefix("data: ")) for frame in frames]


class AIChatTestCase(ApiTestCase):
    def post(self, *messages, api=None, path="ai/chat", **body):
        return (api or self.api).post(path, {"id": CHAT, "messages": list(messages), **body})

    def chunks(self, *messages, **options):
        response = self.post(*messages, **options)

        assert response.status_code == 200, response.content

        return chunks_of(b"".join(response.streaming_content))

    def reply(self, *messages, **options):
        """Return the id of the reply to these messages."""
        return uuid.UUID(self.chunks(*messages, **options)[0]["messageId"])

    def branch_of(self, reply):
        row = Message.objects.get(pk=reply)
        return [(message.role, message.text) for message in branch(row.conversation, row.pk)]


class SubmitTests(AIChatTestCase):
    def test_the_stream_has_our_ids_and_the_usage(self):
        response = self.post(user("Hi"))
        start, *text, finish = chunks_of(b"".join(response.streaming_content))
        reply = Message.objects.select_related("conversation").get(pk=start["messageId"])

        assert response["x-vercel-ai-ui-message-stream"] == "v1"
        assert response["Content-Type"] == "text/event-stream; charset=utf-8"
        assert start == {
            "type": "start",
            "messageId": str(reply.pk),
            "messageMetadata": {
                "user_message": str(reply.parent_id),
                "conversation": str(reply.conversation_id),
                "model": reply.model,
            },
        }
        assert text[0] == {"type": "text-start", "id": "1"}
        assert "".join(chunk.get("delta", "") for chunk in text) == "Hello, world" == reply.text
        assert text[-1] == {"type": "text-end", "id": "1"}
        assert set(finish) == {"type", "messageMetadata"}
        assert finish["messageMetadata"]["status"] == "completed"
        assert finish["messageMetadata"]["usage"] == reply.usage
        assert reply.conversation.chat_id == CHAT

    def test_the_next_message_goes_into_the_same_conversation_whether_all_are_sent_or_the_last(self):
        first = self.reply(user("One"))
        second = self.reply(user("One"), assistant(first, "What the client says we said"), user("Two"))
        third = self.reply(user("Three"))
        response = self.api.post("ai/chat", {"id": CHAT, "message": user("Four")})
        fourth = uuid.UUID(chunks_of(b"".join(response.streaming_content))[0]["messageId"])
        said = ("assistant", "Hello, world")

        assert Conversation.objects.count() == 1
        assert self.branch_of(fourth) == [
            *(("user", "One"), said, ("user", "Two"), said, ("user", "Three"), said, ("user", "Four"), said)
        ]
        assert [turn.text for turn in self.provider.calls[1].prompt.turns] == ["One", "Hello, world", "Two"]
        assert len({first, second, third, fourth}) == 4

    def test_it_comes_after_the_reply_that_the_client_shows(self):
        """In another tab, the conversation may have gone on."""
        first = self.reply(user("One"))
        self.reply(user("One"), assistant(first), user("Elsewhere"))
        here = self.reply(user("One"), assistant(first), user("Here"))

        assert [text for _role, text in self.branch_of(here)] == ["One", "Hello, world", "Here", "Hello, world"]

    def test_the_message_of_a_refused_request_is_not_taken_for_stored(self):
        first = self.reply(user("One"))
        third = self.reply(user("One"), assistant(first), user("Refused"), user("Three"))

        assert [text for _role, text in self.branch_of(third)] == ["One", "Hello, world", "Three", "Hello, world"]

    def test_a_reply_that_is_not_ours_is_ignored(self):
        elsewhere = self.api.reply("In another conversation")
        reply = self.reply(assistant("greeting", "How can I help?"), user("One"))
        for name in (elsewhere.pk, uuid.uuid4(), "msg-1"):
            reply = self.reply(assistant(name, "Made up"), user("Next"))

        assert [text for role, text in self.branch_of(reply) if role == "user"] == ["One", "Next", "Next", "Next"]

    def test_an_edited_message_makes_a_branch(self):
        first = self.reply(user("One"))
        second = self.reply(user("One"), assistant(first), user("Two"))
        edited = self.reply(user("One"), assistant(first), user("Zwei"), messageId="u")
        edited_first = self.reply(user("Eins"), messageId="u")
        row = Message.objects.get(pk=second)
        edited_alone = self.reply(user("Deux"), messageId=str(row.parent_id))

        assert [text for _role, text in self.branch_of(edited)][2:] == ["Zwei", "Hello, world"]
        assert [text for _role, text in self.branch_of(edited_first)] == ["Eins", "Hello, world"]
        assert [text for _role, text in self.branch_of(edited_alone)][:3] == ["One", "Hello, world", "Deux"]
        assert Conversation.objects.count() == 1

    def test_the_options_of_a_send(self):
        models = ["scripted:one", "scripted:two"]
        with override_settings(STREAMING_CHAT_MODELS=models):
            reply = self.reply(
                user("Hi"), model="scripted:two", client_id="one", temperature=2, tools={}, metadata=None
            )
            again = self.reply(user("Hi"), model="scripted:two", client_id="one")

        assert Message.objects.get(pk=reply).model == "scripted:two"
        assert again == reply
        assert Message.objects.count() == 2

    def test_assistant_uis_messages(self):
        """Those of @assistant-ui/react-data-stream are model messages."""
        content = [{"type": "text", "text": "One"}]
        response = self.api.post(
            "ai/chat",
            {"threadId": "t", "system": "Be evil", "messages": [{"role": "user", "content": content}], "tools": {}},
        )

        assert response.status_code == 200
        b"".join(response.streaming_content)
        assert Conversation.objects.get().chat_id == "t"
        assert self.provider.calls[0].prompt.system == ""


class RegenerateTests(AIChatTestCase):
    def regenerate(self, *messages, **options):
        return self.reply(*messages, trigger="regenerate-message", **options)

    def setUp(self):
        super().setUp()
        self.first = self.reply(user("One"))
        self.second = self.reply(user("One"), assistant(self.first), user("Two"))

    def test_the_last_reply(self):
        for messages in ((user("One"), assistant(self.first), user("Two")), (user("Two"),)):
            again = self.regenerate(*messages)

            assert Message.objects.get(pk=again).parent_id == Message.objects.get(pk=self.second).parent_id
            assert again != self.second
        assert Message.objects.filter(role="user").count() == 2

    def test_a_reply_by_its_id(self):
        again = self.regenerate(user("One"), messageId=str(self.first))

        assert Message.objects.get(pk=again).parent_id == Message.objects.get(pk=self.first).parent_id

    def test_a_message_whose_request_was_refused_is_sent(self):
        """The button "Try again" of the AI SDK's examples calls `regenerate` after any error."""
        reply = self.regenerate(user("One"), assistant(self.first), user("Two"), assistant(self.second), user("Three"))
        new = self.regenerate(user("First"), id="new")

        assert [text for role, text in self.branch_of(reply) if role == "user"] == ["One", "Two", "Three"]
        assert self.branch_of(new) == [("user", "First"), ("assistant", "Hello, world")]

    def test_an_id_of_another_conversation_names_nothing(self):
        theirs = Api(make_user("bob")).reply("Secret")
        again = self.regenerate(user("One"), assistant(self.first), user("Two"), messageId=str(theirs.pk))

        assert Message.objects.get(pk=again).parent_id == Message.objects.get(pk=self.second).parent_id


class ErrorTests(AIChatTestCase):
    def assert_text(self, response, status, text):
        assert response.status_code == status
        assert response["Content-Type"] == "text/plain; charset=utf-8"
        assert response["Cache-Control"] == "no-store"
        assert text in response.content.decode(), response.content

    def test_they_are_sentences(self):
        file = {"role": "user", "parts": [{"type": "file", "url": "data:,", "mediaType": "image/png"}]}
        for body, text in (
            ({}, "This field is required."),
            ({"id": CHAT}, "This field is required."),
            ({"id": CHAT, "messages": []}, "Must be a list of messages."),
            ({"id": CHAT, "messages": ["x"]}, "Each message must be an object."),
            ({"id": CHAT, "messages": [{"role": "user"}]}, "A message must have parts."),
            ({"id": CHAT, "messages": [user(" ")]}, "Must not be empty."),
            ({"id": CHAT, "messages": [assistant("a")]}, "must have the role user"),
            ({"id": CHAT, "messages": [file]}, "This chat does not accept files."),
            ({"id": CHAT, "messages": [user("Hi")], "trigger": "resume"}, "Must be one of"),
            ({"id": "x" * 129, "messages": [user("Hi")]}, "Must have at most 128 characters"),
            ({"id": CHAT, "messages": [user("Hi")], "model": "none:such"}, "Must be one of GET api/models"),
        ):
            with self.subTest(body=body):
                self.assert_text(self.api.post("ai/chat", body), 422, text)
        with override_settings(STREAMING_CHAT_MAX_MESSAGE_CHARS=3):
            self.assert_text(self.post(user("Long")), 422, "The message is too long")
        self.assert_text(self.post(user("Hi"), path="ai/chat?sdk=4"), 422, "a version of the AI SDK")
        self.assert_text(Api().get(f"ai/chat/{CHAT}/stream"), 401, "Please sign in.")
        refused = self.api.get("ai/chat")
        self.assert_text(refused, 405, "not allowed")
        assert refused["Allow"] == "POST"
        assert not Message.objects.exists()

    def test_one_reply_at_a_time(self):
        make_live(make_conversation(chat_id=CHAT))

        self.assert_text(self.post(user("Hi")), 409, "A reply is still being written")


class ChatIdTests(AIChatTestCase):
    def test_two_owners_may_choose_the_same(self):
        mine = self.reply(user("Mine"))
        theirs = self.reply(user("Theirs"), api=Api(make_user("bob")))
        chats = Conversation.objects.filter(chat_id=CHAT).order_by("created_at")

        assert [chat.owner.username for chat in chats] == ["ana", "bob"]
        assert self.branch_of(mine)[0][1] == "Mine"
        assert self.branch_of(theirs)[0][1] == "Theirs"

    def test_a_slash_and_any_script(self):
        make_live(make_conversation(chat_id="a/b ü"))

        assert self.api.post("ai/chat/a%2Fb%20%C3%BC/stop").status_code in {200, 202}
        assert self.api.post("ai/chat/a%2Fb/stop").status_code == 404

    def test_a_deleted_chat_is_not_found(self):
        delete_for_owner(make_conversation(chat_id=CHAT).pk)

        assert self.post(user("Hi")).status_code == 404
        assert self.api.get(f"ai/chat/{CHAT}/stream").status_code == 404
        assert self.api.post(f"ai/chat/{CHAT}/stop").status_code == 404

    def test_a_conversation_that_was_begun_elsewhere_has_its_own_id(self):
        begun = self.api.reply("One")
        reply = self.reply(user("Two"), id=str(begun.conversation_id))
        theirs = self.reply(user("Three"), id=str(begun.conversation_id), api=Api(make_user("bob")))

        assert [text for role, text in self.branch_of(reply) if role == "user"] == ["One", "Two"]
        assert [text for role, text in self.branch_of(theirs) if role == "user"] == ["Three"]

    def test_merging_keeps_a_visitors_chats_and_where_both_have_one_the_users(self):
        visitor = {"owner": None, "owner_key": "v:1"}
        mine = make_conversation(chat_id=CHAT)
        for chat_id in (CHAT, "other"):
            Conversation.objects.create(chat_id=chat_id, **visitor)
        merge_visitor("v:1", Owner(self.user, user_key(self.user)))

        assert Conversation.objects.get(chat_id=CHAT) == mine
        assert Conversation.objects.get(chat_id="other").owner == self.user
        assert Conversation.objects.filter(owner=self.user).count() == 3


class StopAndFollowTests(AIChatTestCase):
    def test_nothing_is_live(self):
        self.reply(user("Hi"))
        stream, stop = self.api.get(f"ai/chat/{CHAT}/stream"), self.api.post(f"ai/chat/{CHAT}/stop")

        assert (stream.status_code, stream.content) == (204, b"")
        assert stop.status_code == 204
        assert self.api.get("ai/chat/unknown/stream").status_code == 204
        assert self.api.post("ai/chat/unknown/stop").status_code == 404

    def test_another_owners_reply_is_neither_followed_nor_stopped(self):
        live = make_live(make_conversation(chat_id=CHAT))
        bob = Api(make_user("bob"))

        assert bob.get(f"ai/chat/{CHAT}/stream").status_code == 204
        assert bob.post(f"ai/chat/{CHAT}/stop").status_code == 404
        assert LiveReply.objects.get(pk=live.pk).stop is None


class LoadTests(AIChatTestCase):
    """`GET ai/chat/<chat id>`. tests/browser/test_ai_sdk.py compares it with what the clients make of the stream."""

    def load(self, query="", *, api=None, chat=CHAT):
        response = (api or self.api).get(f"ai/chat/{chat}{query}")

        assert response.status_code == 200, response.content
        assert response["Cache-Control"] == "no-store"

        return response.json()

    def test_the_messages_have_the_ids_and_the_metadata_of_the_stream(self):
        start, *_text, finish = self.chunks(user("One"))
        loaded = self.load()
        question, reply = loaded["messages"]

        assert loaded["earlier"] is None
        assert question == {
            "id": start["messageMetadata"]["user_message"],
            "role": "user",
            "parts": [{"type": "text", "text": "One", "state": "done"}],
        }
        assert reply == {
            "id": start["messageId"],
            "role": "assistant",
            "metadata": {**start["messageMetadata"], **finish["messageMetadata"]},
            "parts": [{"type": "text", "text": "Hello, world", "state": "done"}],
        }

    def test_the_branch_in_view_is_shown_a_page_at_a_time(self):
        first = self.reply(user("One"))
        self.reply(user("One"), assistant(first), user("Elsewhere"))
        self.reply(user("One"), assistant(first), user("Here"))
        newest = self.load("?limit=3")
        before = self.load(f"?limit=3&before={newest['earlier']}")
        texts = [message["parts"][0]["text"] for page in (before, newest) for message in page["messages"]]

        assert texts == ["One", "Hello, world", "Here", "Hello, world"]
        assert before["earlier"] is None

    def test_a_reply_that_is_being_written_is_left_to_the_stream(self):
        self.reply(user("One"))
        conversation = Conversation.objects.get()
        make_message(conversation, "Two")
        make_live(conversation, Event("text", "so far"))

        assert [message["role"] for message in self.load()["messages"]] == ["user", "assistant", "user"]

    def test_a_reply_without_a_part_has_an_empty_text(self):
        """The AI SDK refuses a message without parts, and without this message the next one would be a branch."""
        self.provider.script(Script([], error="provider_unavailable"))
        self.chunks(user("One"))
        failed = self.load()["messages"][-1]

        assert failed["parts"] == [{"type": "text", "text": "", "state": "done"}]
        assert failed["metadata"]["status"] == "failed"
        assert failed["metadata"]["error"]["code"] == "provider_unavailable"

    def test_what_its_owner_has_stopped_ends_there(self):
        reply = make_reply(make_conversation(chat_id=CHAT), "Hello, world", cut_position=6, status="stopped")

        assert self.load()["messages"][-1]["parts"][0]["text"] == "Hello"
        assert Message.objects.get(pk=reply.pk).parts[0]["text"] == "Hello, world"

    def test_a_call_that_no_client_can_read_is_there_for_later_ones(self):
        call = {"kind": "tool_call", "id": "c", "name": "f", "arguments": "{", "complete": False}
        make_reply(make_conversation(chat_id=CHAT), "", parts=[call])
        [shown] = self.load("?sdk=6")["messages"][-1]["parts"]

        assert self.load()["messages"][-1]["parts"][0]["type"] == "text"
        assert (shown["type"], shown["state"], shown["input"]) == ("dynamic-tool", "output-error", "{")
        assert shown["errorText"].startswith("The arguments of this call are incomplete")

    def test_it_is_there_for_its_owner_alone(self):
        self.reply(user("Secret"))
        conversation = Conversation.objects.get()
        bob = Api(make_user("bob"))
        refused = [bob.get(f"ai/chat/{chat}") for chat in (CHAT, conversation.pk, "unknown")]

        assert {(response.status_code, response.content) for response in refused} == {(404, refused[0].content)}
        assert refused[0]["Content-Type"] == "text/plain; charset=utf-8"
        assert self.load(chat=conversation.pk) == self.load()
        assert Api().get(f"ai/chat/{CHAT}").status_code == 401
        delete_for_owner(conversation.pk)
        assert self.api.get(f"ai/chat/{CHAT}").status_code == 404

    def test_what_is_refused(self):
        self.reply(user("One"))
        elsewhere = self.api.reply("In another conversation")
        for query in ("?limit=0", "?limit=51", "?before=x", f"?before={elsewhere.pk}", "?sdk=4"):
            with self.subTest(query):
                assert self.api.get(f"ai/chat/{CHAT}{query}").status_code == 422
        assert self.api.get("ai/chat/%00").status_code == 404
        assert self.api.post(f"ai/chat/{CHAT}").status_code == 405


class TwoAtOnceTests(ServerTestCase):
    def test_two_first_messages_make_one_conversation(self):
        statuses = []

        def post():
            statuses.append(self.browser.post("ai/chat", {"id": CHAT, "messages": [user("Hi")]}).status)

        threads = [threading.Thread(target=post) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert Conversation.objects.count() == 1
        assert statuses.count(200) >= 1
        assert set(statuses) <= {200, 409}
