"""Replies over the native API: follow, stop, regenerate."""

import uuid

from django.test import override_settings

from streaming_chat.models import Conversation
from streaming_chat.testing import Script, Streamed, read_stream
from tests.factories import make_conversation, make_reply
from tests.native import ApiTestCase, error_of


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
        assert shown["siblings"] == {"index": 2, "count": 2, "previous": str(first.pk), "next": None}
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


class ResumedBodyTests(ApiTestCase):
    def test_any_two_cuts_join_to_the_text(self):
        reply = make_reply(make_conversation(), "Hello, wörld 🎉")
        whole = read_stream(self.api.get(f"api/messages/{reply.pk}/events"))
        for position in range(1, 16):
            rest = Streamed(
                b"".join(self.api.get(f"api/messages/{reply.pk}/events?after={position}").streaming_content)
            )

            assert whole.text[: position - 1] + rest.text == whole.text
