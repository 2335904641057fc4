"""Rows: their constraints, their order, and how a reply's ending is saved."""

import uuid
from datetime import timedelta

from django.db import IntegrityError, connection, transaction
from django.db.models import Model
from django.db.models.functions import Now
from django.test import SimpleTestCase, TestCase

from streaming_chat.chats.deletion import delete_for_owner, restore
from streaming_chat.db.alias import live_database
from streaming_chat.db.uuid7 import uuid7
from streaming_chat.engine.completion import end_reply
from streaming_chat.engine.recovery import recover_reply
from streaming_chat.models import Conversation, Feedback, LiveReply, Message, ReplyEvent
from streaming_chat.protocol import endings
from streaming_chat.protocol.events import Event
from tests.factories import make_conversation, make_live, make_message, make_reply, make_user


class IdTests(SimpleTestCase):
    def test_ids_are_uuids_of_version_7_that_sort_by_time(self):
        made = [uuid7() for _ in range(2_000)]

        assert made == sorted(made)
        assert len(set(made)) == len(made)
        assert {(pk.version, pk.variant) for pk in made} == {(7, uuid.RFC_4122)}


class ConstraintTests(TestCase):
    def refused(self, make, *args, **fields):
        with self.assertRaises(IntegrityError), transaction.atomic():
            make(*args, **fields)
            # PostgreSQL checks foreign keys at the commit.
            connection.check_constraints()

    def test_a_conversation_has_an_owner_or_a_visitor_or_is_erased(self):
        ana = make_user()
        create = Conversation.objects.create
        create(owner=ana, owner_key=f"u:{ana.pk}")
        create(owner_key="v:abc")
        create(owner_key="", erased_at=Now())

        for fields in (
            {},
            {"owner_key": "u:1"},
            {"owner": ana},
            {"owner": ana, "owner_key": "v:abc"},
            {"owner": ana, "owner_key": "", "erased_at": Now()},
        ):
            with self.subTest(fields=list(fields)):
                self.refused(create, **fields)

    def test_one_live_reply_a_conversation(self):
        live = make_live(make_conversation(), slot=0)

        self.refused(make_live, live.conversation, slot=1)

    def test_one_live_reply_a_slot(self):
        make_live(make_conversation(), slot=0)
        make_live(make_conversation(), slot=1)

        self.refused(make_live, make_conversation(), slot=1)

    def test_a_user_message_is_complete(self):
        self.refused(make_message, make_conversation(), status="streaming")

    def test_one_reply_a_send_key(self):
        make_message(make_conversation(), send_key="k")
        make_message(make_conversation())
        make_message(make_conversation())

        self.refused(make_message, make_conversation(), send_key="k")

    def test_one_event_a_position(self):
        live = make_live(make_conversation(), Event("text", "Yes"))

        self.refused(ReplyEvent.objects.create, message=live.message, position=1, kind="text", payload="No")

    def test_feedback_is_good_or_bad_and_once(self):
        reply = make_reply(make_conversation())
        Feedback.objects.create(message=reply, value=1, owner_key="u:1")

        self.refused(Feedback.objects.create, message=reply, value=-1, owner_key="u:1")
        self.refused(Feedback.objects.create, message=reply, value=0, owner_key="u:2")

    def test_a_users_conversations_go_with_them(self):
        make_live(make_conversation(), Event("text", "Yes"))
        make_user().delete()

        assert not Conversation.objects.exists()
        assert not ReplyEvent.objects.exists()


class NamesTests(TestCase):
    def test_no_name_holds_text(self):
        """Django's admin log stores names."""
        secret = "Rosebud"
        conversation = make_conversation(title=secret, system_prompt=secret, metadata={"a": secret})
        live = make_live(conversation, Event("text", secret))
        message = make_message(make_conversation(), secret)
        feedback = Feedback.objects.create(message=message, value=1, comment=secret, owner_key="u:1")
        rows: list[Model] = [conversation, live, message, feedback, ReplyEvent.objects.get()]

        assert not any(secret in f"{row} {row!r}" for row in rows)
        assert str(conversation) == f"Conversation {conversation.pk}"


class PathTests(TestCase):
    def test_from_the_root_to_the_leaf(self):
        conversation = make_conversation()
        first = make_reply(conversation)
        make_reply(conversation, "Other", parent=first.parent)
        last = make_message(conversation, parent=first)
        with self.assertNumQueries(2):
            path = conversation.path_to(last.pk)

        assert path == [first.parent, first, last]
        assert conversation.path_to(None) == []
        assert conversation.path_to(make_message(make_conversation()).pk) == []


class EndReplyTests(TestCase):
    RECEIVED = (Event("reasoning", "Hm."), Event("text", "It will "), Event("text", "rain"))

    def setUp(self):
        self.live = make_live(make_conversation(), *self.RECEIVED)

    def end(self, ending, received=RECEIVED, **fields):
        return end_reply(self.live.pk, self.live.conversation_id, ending, received, using=live_database(), **fields)

    def message(self):
        return Message.objects.get(pk=self.live.pk)

    def test_it_holds_its_parts_and_the_live_rows_are_gone(self):
        assert self.end(endings.completed("stop", received=True), input_tokens=5, output_tokens=6)

        message = self.message()

        assert (message.status, message.end_reason, message.text) == ("completed", "stop", "It will rain")
        assert message.parts == [{"kind": "reasoning", "text": "Hm."}, {"kind": "text", "text": "It will rain"}]
        assert (message.position, message.end_position, message.cut_position) == (16, 16, None)
        assert message.ended_at
        assert not LiveReply.objects.exists()
        assert not ReplyEvent.objects.exists()
        conversation = Conversation.objects.get()
        assert (conversation.last_status, conversation.input_tokens, conversation.output_tokens) == ("completed", 5, 6)

    def test_only_once(self):
        self.end(endings.stopped("user"))

        assert not self.end(endings.completed("stop", received=True), input_tokens=5)
        assert self.message().status == "stopped"
        assert Conversation.objects.get().input_tokens == 0

    def test_a_cut_ends_the_text_and_not_the_parts(self):
        self.end(endings.stopped("user", 11))
        message = self.message()

        assert (message.text, message.cut_position, message.end_position) == ("It will", 11, 11)
        assert message.parts[1]["text"] == "It will rain"
        assert [event.payload for event in message.events()] == ["Hm.", "It will"]
        assert [event.payload for event in message.events(whole=True)] == ["Hm.", "It will rain"]
        assert message.end_payload()["length"] == 7

    def test_a_cut_past_the_end_is_none_and_one_before_the_start_is_the_start(self):
        self.end(endings.stopped("user", 99))

        assert self.message().cut_position is None

        self.live = make_live(make_conversation(), *self.RECEIVED)
        self.end(endings.stopped("user", 0))

        assert (self.message().cut_position, self.message().text) == (1, "")


class SettleTests(TestCase):
    def settled(self, *saved, **fields):
        live = make_live(make_conversation(), *saved, **{"expires": -1, **fields})
        return recover_reply(live), Message.objects.get(pk=live.pk)

    def test_what_was_saved_is_kept(self):
        done, message = self.settled(Event("text", "It "), Event("text", "rains"))

        assert done
        assert (message.status, message.end_reason, message.error_code, message.text) == (
            "interrupted",
            "lease_expired",
            "lease_expired",
            "It rains",
        )
        assert message.parts == [{"kind": "text", "text": "It rains"}]

    def test_nothing_saved_is_a_failure(self):
        _done, message = self.settled()

        assert (message.status, message.end_reason, message.error_code) == ("failed", "", "lease_expired")

    def test_a_stop_that_was_asked_for_holds(self):
        _done, message = self.settled(Event("text", "It rains"), stop="user", stop_position=3)

        assert (message.status, message.end_reason, message.text) == ("stopped", "user", "It")

    def test_a_living_workers_reply_is_left_alone(self):
        done, message = self.settled(Event("text", "It"), expires=60)

        assert not done
        assert message.status == "streaming"
        assert LiveReply.objects.exists()

    def test_only_one_settles_it(self):
        live = make_live(make_conversation(), expires=-1)

        assert [recover_reply(live), recover_reply(live)] == [True, False]


class StreamTests(TestCase):
    def stream(self, position):
        saved = [Event("reasoning", "Hm."), Event("text", "It "), Event("text", "rains")]
        live = make_live(make_conversation(), *saved, slot=position)
        return [event.payload for event in ReplyEvent.objects.stream(live.pk, position)]

    def test_the_rest_from_a_position_is_merged(self):
        assert self.stream(1) == ["Hm.", "It rains"]
        assert self.stream(2) == ["m.", "It rains"]
        assert self.stream(4) == ["It rains"]
        assert self.stream(8) == ["ains"]
        assert self.stream(12) == []


class DeletionTests(TestCase):
    def test_it_is_marked_once_and_can_be_undone_in_time(self):
        conversation = make_conversation()

        assert delete_for_owner(conversation.pk)
        assert not delete_for_owner(conversation.pk)
        assert restore(conversation.pk, timedelta(seconds=60))
        assert not restore(conversation.pk, timedelta(seconds=60))

    def test_the_first_stop_wins(self):
        live = make_live(make_conversation(), stop="staff")
        delete_for_owner(live.conversation.pk)

        assert LiveReply.objects.get().stop == "staff"
