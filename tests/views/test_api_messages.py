"""Messages over the native API: send, follow, stop, regenerate, judge."""

import hashlib
import json
import uuid

from django.test import override_settings

from streaming_chat.chats.deletion import delete_for_owner
from streaming_chat.models import Conversation, Feedback, LiveReply, Message
from streaming_chat.protocol.events import Event
from streaming_chat.testing import Script, Streamed, read_stream
from tests.factories import make_conversation, make_live, make_message, make_reply, make_steady, make_user
from tests.native import Api, ApiTestCase, error_of

KEYS = {
    "id",
    "conversation",
    "parent",
    "role",
    "text",
    "parts",
    "status",
    "end_reason",
    "error",
    "model",
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
    "output_tokens": 4,
    "reasoning_tokens": None,
    "estimated": False,
}


class SimpleFormatTests(ApiTestCase):
    maxDiff = None

    def test_a_stream_is_this_byte_by_byte(self):
        call = [("weather", '{"city":"Köln"}')]
        self.provider.script(Script("Hello, wörld 🎉", reasoning=["Let me think."], tool_calls=call))
        response = self.api.post("api/messages", {"content": "Hi"})
        body = b"".join(response.streaming_content).decode("ascii")
        reply = Message.objects.get(role="assistant")
        pk, digest = reply.pk, hashlib.sha256("Hello, wörld 🎉".encode()).hexdigest()

        assert body == (
            f"retry: 1000\nid: {pk}/1\nevent: start\n"
            f'data: {{"text":"","message":"{pk}","user_message":"{reply.parent_id}",'
            f'"conversation":"{reply.conversation_id}","model":"scripted:model"}}\n\n'
            f'id: {pk}/14\nevent: reasoning\ndata: {{"text":"","reasoning":"Let me think."}}\n\n'
            f'id: {pk}/28\ndata: {{"text":"Hello, w\\u00f6rld \\ud83c\\udf89"}}\n\n'
            f'id: {pk}/29\nevent: tool_call\ndata: {{"text":"","tool_call":{{"id":"call_0","name":"weather",'
            '"arguments":"{\\"city\\":\\"K\\u00f6ln\\"}","complete":true}}\n\n'
            f'id: {pk}/end\nevent: done\ndata: {{"text":"","status":"completed","end_reason":"stop","usage":'
            '{"input_tokens":7,"cached_input_tokens":null,"output_tokens":4,"reasoning_tokens":null,'
            f'"estimated":false}},"length":14,"sha256":"{digest}"}}\n\n'
            "data: [DONE]\n\n"
        )

    def test_its_headers_hold_nothing_back(self):
        response = self.api.post("api/messages", {"content": "Hi"})
        wanted = {
            "Content-Type": "text/event-stream; charset=utf-8",
            "Cache-Control": "no-store, no-cache, no-transform",
            "Content-Encoding": "identity",
            "X-Accel-Buffering": "no",
            "X-Content-Type-Options": "nosniff",
        }

        assert wanted.items() <= dict(response.headers).items()
        assert "Cookie" in response.headers["Vary"]
        assert b"[DONE]" in b"".join(response.streaming_content)

    def test_the_format_can_be_named(self):
        response = self.api.post("api/messages?format=simple", {"content": "Hi"})

        assert read_stream(response).text == "Hello, world"

    def test_each_ending_has_its_name(self):
        scripts = {
            "done": Script("Whole"),
            "failed": Script([], error="provider_auth"),
            "interrupted": Script("Half", error="provider_stall"),
        }
        for name, script in scripts.items():
            with self.subTest(name=name):
                self.provider.script(script)
                streamed = self.api.send()
                end = streamed.frames[-2]

                assert (end.event, end.id) == (name, f"{streamed.start['message']}/end")
                assert streamed.frames[-1].data == "[DONE]"
                assert ("error" in end.data) == (name != "done")

    def test_an_error_says_only_what_is_safe(self):
        self.provider.script(Script([], error="provider_rejected"))
        error = self.api.send().end["error"]

        assert set(error) == {"code", "message", "retryable", "ref"}
        assert (error["code"], error["retryable"]) == ("provider_rejected", False)

    def test_the_plainest_reader_gets_the_exact_text(self):
        text = "data: x\n\nid: 1\r\n\u2028\u2029 🎉\n" * 300
        self.provider.script(Script([text[at : at + 7] for at in range(0, len(text), 7)]))
        shown = ""

        for line in b"".join(self.api.post("api/messages", {"content": "Hi"}).streaming_content).decode().split("\n"):
            if line.startswith("data: ") and line != "data: [DONE]":
                shown += json.loads(line[6:])["text"]

        assert shown == text


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
        assert shown["siblings"] == {"index": 2, "count": 2}

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


class FollowTests(ApiTestCase):
    def setUp(self):
        super().setUp()
        self.reply = make_reply(make_conversation(), "Hello, world")
        self.path = f"api/messages/{self.reply.pk}/events"

    def follow(self, query="", **headers):
        return self.api.get(self.path + query, headers=headers)

    def test_from_the_beginning(self):
        streamed = read_stream(self.follow())

        assert streamed.start["message"] == str(self.reply.pk)
        assert streamed.text == "Hello, world"
        assert streamed.end["status"] == "completed"

    def test_from_an_id_or_its_number(self):
        for after in (f"{self.reply.pk}/6", "6"):
            for response in (self.follow(f"?after={after}"), self.follow(**{"Last-Event-ID": after})):
                streamed = read_stream(response)

                assert streamed.text == ", world"
                assert [frame.event for frame in streamed.frames] == ["", "done", ""]

    def test_the_header_wins(self):
        """EventSource reconnects with the address it first had."""
        streamed = read_stream(self.follow("?after=0", **{"Last-Event-ID": f"{self.reply.pk}/8"}))

        assert streamed.text == "world"

    def test_zero_is_the_start_and_the_last_position_leaves_the_ending(self):
        assert read_stream(self.follow("?after=0")).text == "Hello, world"
        assert [frame.event for frame in read_stream(self.follow("?after=13")).frames] == ["done", ""]

    def test_the_ending_is_where_an_event_source_stops(self):
        response = self.follow(**{"Last-Event-ID": f"{self.reply.pk}/end"})

        assert (response.status_code, response.content) == (204, b"")

    def test_past_what_there_is_it_begins_again(self):
        streamed = read_stream(self.follow("?after=999"))
        reset = streamed.frames[0]

        assert (reset.event, reset.id, reset.data) == ("reset", f"{self.reply.pk}/0", {"text": ""})
        assert streamed.text == "Hello, world"

    def test_other_ids_are_refused(self):
        for after in ("x", "-1", "1.5", f"{uuid.uuid4()}/3", f"{self.reply.pk}/", f"{self.reply.pk}/x", "1" * 10, "²"):
            with self.subTest(after=after):
                response = self.follow(f"?after={after}")

                assert response.status_code == 422
                assert error_of(response)["code"] == "invalid"

    def test_a_user_message_has_no_stream(self):
        assert self.api.get(f"api/messages/{self.reply.parent_id}/events").status_code == 404

    def test_an_unknown_format_is_refused(self):
        assert self.follow("?format=morse").status_code == 406


class StopTests(ApiTestCase):
    def test_an_ended_reply_is_answered_as_it_is_however_often(self):
        reply = self.api.reply("Hi")
        for body in ({}, {"position": 3}, {"position": f"{reply.pk}/3"}, {"position": None}):
            response = self.api.post(f"api/messages/{reply.pk}/stop", body)

            assert (response.status_code, response.json()["text"]) == (200, "Hello, world")

    def test_no_body_is_needed(self):
        reply = self.api.reply("Hi")

        assert self.api.client.post(f"/chat/api/messages/{reply.pk}/stop").status_code in {200, 415}
        assert self.api.ask("POST", f"api/messages/{reply.pk}/stop", b"").status_code == 200

    def test_positions_are_checked(self):
        reply = self.api.reply("Hi")
        for position in ("x", -1, 1.5, True, {}, f"{uuid.uuid4()}/3"):
            with self.subTest(position=position):
                response = self.api.post(f"api/messages/{reply.pk}/stop", {"position": position})

                assert (response.status_code, list(error_of(response)["fields"])) == (422, ["position"])

    def test_a_user_message_cannot_be_stopped(self):
        reply = self.api.reply("Hi")

        assert self.api.post(f"api/messages/{reply.parent_id}/stop").status_code == 404


class RegenerateTests(ApiTestCase):
    def test_a_sibling_is_written(self):
        first = self.api.reply("Hi")
        self.provider.script(Script("Again"))
        second = read_stream(self.api.post(f"api/messages/{first.pk}/regenerate"))
        shown = self.api.get(f"api/messages/{second.start['message']}").json()
        conversation = Conversation.objects.get()

        assert second.start["user_message"] == str(first.parent_id)
        assert shown["siblings"] == {"index": 2, "count": 2}
        assert shown["text"] == "Again"
        assert str(conversation.head_id) == shown["id"]
        assert conversation.message_count == 3
        assert [turn.text for turn in self.provider.calls[1].prompt.turns] == ["Hi"]

    def test_a_failed_reply_too(self):
        self.provider.script(Script([], error="provider_auth"))
        failed = self.api.reply("Hi")
        again = self.api.post(f"api/messages/{failed.pk}/regenerate", {"stream": False}).json()

        assert (failed.status, again["message"]["status"]) == ("failed", "completed")
        assert again["user_message"]["id"] == str(failed.parent_id)

    @override_settings(STREAMING_CHAT_MODELS=["scripted:one", "scripted:two"])
    def test_by_another_model(self):
        reply = self.api.reply("Hi")
        read_stream(self.api.post(f"api/messages/{reply.pk}/regenerate", {"model": "scripted:two"}))

        assert self.provider.calls[1].prompt.model == "two"

    def test_a_user_message_is_not_regenerated(self):
        reply = self.api.reply("Hi")

        assert self.api.post(f"api/messages/{reply.parent_id}/regenerate").status_code == 404

    def test_once_with_one_client_id(self):
        reply = self.api.reply("Hi")
        path = f"api/messages/{reply.pk}/regenerate"
        texts = [read_stream(self.api.post(path, {"client_id": "again"})).start["message"] for _ in range(2)]

        assert texts[0] == texts[1]
        assert len(self.provider.calls) == 2

    def test_its_body_has_no_content(self):
        reply = self.api.reply("Hi")
        response = self.api.post(f"api/messages/{reply.pk}/regenerate", {"content": "Hi"})

        assert (response.status_code, list(error_of(response)["fields"])) == (422, ["content"])


class ClientIdTests(ApiTestCase):
    def test_the_same_again_is_the_same_reply(self):
        first, second = (self.api.send("Hi", client_id="one") for _ in range(2))

        # The same up to merging: the second is read when more has come.
        assert (first.start, first.text, first.end) == (second.start, second.text, second.end)
        assert len(self.provider.calls) == 1
        assert Message.objects.count() == 2

    def test_from_where_the_client_was(self):
        message = self.api.send("Hi", client_id="one").start["message"]
        response = self.api.post(
            "api/messages", {"content": "Hi", "client_id": "one"}, headers={"Last-Event-ID": f"{message}/6"}
        )

        assert read_stream(response).text == ", world"

    def test_how_it_is_delivered_does_not_count(self):
        first = self.api.send("Hi", client_id="one")
        body = {"content": "Hi", "client_id": "one", "stream": False, "disconnect": "stop"}
        second = self.api.post("api/messages", body).json()

        assert second["message"]["id"] == first.start["message"]

    def test_another_body_is_refused(self):
        self.api.send("Hi", client_id="one")
        for body in (
            {"content": "Ho"},
            {"content": "Hi", "model": "scripted:model"},
            {"content": "Hi", "parent": None},
        ):
            response = self.api.post("api/messages", {"client_id": "one", **body})

            assert (response.status_code, error_of(response)["code"]) == (422, "idempotency_mismatch")

    def test_it_counts_per_owner_and_conversation(self):
        reply = self.api.reply("Hi", client_id="one")
        self.api.send("Hi", reply.conversation, client_id="one")
        Api(make_user("bo")).send("Hi", client_id="one")

        assert len(self.provider.calls) == 3

    def test_a_deleted_conversations_is_not_found(self):
        reply = self.api.reply("Hi", client_id="one")
        delete_for_owner(reply.conversation.pk)
        response = self.api.post("api/messages", {"content": "Hi", "client_id": "one"})

        assert response.status_code == 404


class FeedbackTests(ApiTestCase):
    def setUp(self):
        super().setUp()
        self.reply = make_reply(make_conversation())
        self.path = f"api/messages/{self.reply.pk}/feedback"

    def test_given_changed_and_taken_back(self):
        given = self.api.put(self.path, {"value": 1, "comment": "Good"}).json()
        changed = self.api.put(self.path, {"value": -1}).json()
        feedback = Feedback.objects.get()
        taken = self.api.delete(self.path)

        assert given["feedback"] == {"value": 1, "comment": "Good"}
        assert changed["feedback"] == {"value": -1, "comment": ""}
        assert feedback.by == self.user
        assert taken.status_code == 204
        assert self.api.delete(self.path).status_code == 204
        assert self.api.get(f"api/messages/{self.reply.pk}").json()["feedback"] is None

    def test_wrong_values(self):
        for body in (
            {},
            {"value": 0},
            {"value": True},
            {"value": "1"},
            {"value": 1, "comment": "x" * 4001},
            {"value": []},
        ):
            with self.subTest(body=str(body)[:20]):
                assert self.api.put(self.path, body).status_code == 422

    def test_only_replies_have_any(self):
        assert self.api.put(f"api/messages/{self.reply.parent_id}/feedback", {"value": 1}).status_code == 404

    def test_that_of_others_is_theirs(self):
        Feedback.objects.create(message=self.reply, value=1, owner_key="u:0")

        assert self.api.get(f"api/messages/{self.reply.pk}").json()["feedback"] is None


class BranchTests(ApiTestCase):
    def test_a_branch_hides_nothing(self):
        conversation = make_conversation()
        question = make_message(conversation)
        replies = [make_reply(conversation, text, parent=question) for text in ("One", "Two", "Three")]
        shown = self.api.get(f"api/conversations/{conversation.pk}/messages").json()["results"]
        indexes = {message["id"]: message["siblings"] for message in shown}

        assert [indexes[str(reply.pk)]["index"] for reply in replies] == [1, 2, 3]
        assert {indexes[str(reply.pk)]["count"] for reply in replies} == {3}


class ResumedBodyTests(ApiTestCase):
    def test_any_two_cuts_join_to_the_text(self):
        reply = make_reply(make_conversation(), "Hello, wörld 🎉")
        whole = read_stream(self.api.get(f"api/messages/{reply.pk}/events"))
        for position in range(1, 16):
            rest = Streamed(
                b"".join(self.api.get(f"api/messages/{reply.pk}/events?after={position}").streaming_content)
            )

            assert whole.text[: position - 1] + rest.text == whole.text
