"""Constraints of the tables, names of rows, and the path through a conversation."""

from django.db import IntegrityError, connection, transaction
from django.db.models import Model
from django.db.models.functions import Now
from django.test import TestCase

from streaming_chat.models import Conversation, Feedback, Message, ReplyEvent
from streaming_chat.protocol.events import Event
from tests.factories import make_conversation, make_live, make_message, make_reply, make_user


class ColumnTests(TestCase):
    def test_the_long_columns_of_a_message_are_the_last(self):
        """SQLite reads a long text to get to a column after it."""
        with connection.cursor() as cursor:
            columns = connection.introspection.get_table_description(cursor, Message._meta.db_table)

        assert [column.name for column in columns][-2:] == ["text", "parts"]


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
