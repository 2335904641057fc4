"""The statements of a send that Django compiles once are those of the ORM for the same operation."""

from datetime import timedelta
from typing import Any

from django.db import connection
from django.db.models import IntegerField
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now
from django.test import TestCase, override_settings

from streaming_chat.chats import branches, idempotency, live_reply_limit, prepared_reply, send_transaction
from streaming_chat.chats.live_reply_limit import insert_live_reply
from streaming_chat.conf import conf
from streaming_chat.db.hooks import columns_on_change
from streaming_chat.models import Conversation, LiveReply, Message
from tests.executed import executed_by
from tests.factories import make_conversation, make_message, make_reply


def prepared(number: int) -> Any:
    """Return the parameter that Django makes of a number."""
    return IntegerField().get_db_prep_save(number, connection)


class SendStatementTests(TestCase):
    def setUp(self) -> None:
        self.reply = make_reply(make_conversation())
        self.conversation = self.reply.conversation
        self.key = {"pk": self.conversation.pk, "owner_key": self.conversation.owner_key}
        self.of_owner = Conversation.objects.for_owner(self.conversation.owner_key).filter(pk=self.conversation.pk)

    def test_the_conversation_and_its_live_reply(self):
        compiled = executed_by(prepared_reply._select.rows, "default", **self.key)

        assert compiled == executed_by(list, self.of_owner.order_by().values_list(*prepared_reply._COLUMNS, "live"))

    def test_the_change_of_the_conversation_if_it_is_as_it_was_read(self):
        values = {"head": self.reply.pk, "model": "demo:demo", "message_count": 4, "title": "Rain"}
        in_order = {
            "head": values["head"],
            "model": values["model"],
            "last_status": "streaming",
            "last_activity": Now(),
            "message_count": 4,
            "title": "Rain",
            **columns_on_change(),
        }
        for head in (self.reply.pk, None):
            read = {"head": head, "message_count": 2, "model": "demo:other", "title": ""}
            arguments = {"read_head": head, "read_count": 2, "read_model": "demo:other", "read_title": ""}

            compiled = executed_by(
                send_transaction._update.execute, "default", head is not None, **self.key, **arguments, **values
            )

            assert compiled == executed_by(self.of_owner.filter(**read).update, **in_order)

    def test_the_reply_of_a_client_id(self):
        columns = ("pk", "body_digest", "conversation__deleted_at", "conversation__owner_key")
        for keys in (["a"], ["a", "b"]):
            replies = Message.objects.filter(send_key__in=keys).values_list(*columns)

            compiled = executed_by(idempotency._select_sent.rows, "default", len(keys), keys=keys)

            assert compiled == executed_by(replies.first)

    def test_the_live_reply(self):
        """Its slot is an expression, and its lease is counted by the database's clock."""
        message = make_message(self.conversation)
        ids = {"message_id": message.pk, "conversation_id": message.conversation_id}
        values: dict[str, Any] = {**ids, "owner_key": "u:1", "worker": "me", "reserved": {"tokens": 5}}
        lease = timedelta(seconds=conf.STREAMING_CHAT_LEASE_SECONDS)

        [(_sql, parameters)] = executed_by(
            live_reply_limit._insert.execute, "default", **values, first_slot=3, limit=5, lease=lease
        )

        LiveReply.objects.all().remove()
        slot = RawSQL(live_reply_limit._FREE_SLOT_SQL, (prepared(3), "u:1", prepared(5), "u:1", "u:1"))  # noqa: S611
        live = LiveReply(**values, slot=slot, expires_at=LiveReply.lease())
        [(_sql, parameters_of_orm)] = executed_by(LiveReply.objects.bulk_create, [live])
        assert parameters == [parameter for parameter in parameters_of_orm if parameter != "None"]

    def test_the_end_of_a_branch(self):
        for without in ((), ("parts",)):
            names = [field.attname for field in Message._meta.concrete_fields if field.name not in without]
            size = branches._NEEDED_SIZE if without else branches._FULL_SIZE
            up = branches._sql(branches._UP, size=size.format(**branches._NAMES))
            ids = [self.reply.pk, self.conversation.pk, self.conversation.pk]
            ids_in_branch = RawSQL(up, (*branches._to_database("default", ids), prepared(5), prepared(100)))  # noqa: S611
            messages = Message.objects.filter(pk__in=ids_in_branch).order_by().values_list(*names)

            compiled = executed_by(
                branches.branch, self.conversation, self.reply.pk, most=5, max_chars=100, without=without
            )

            assert compiled == executed_by(list, messages)

    def test_the_lease_may_change(self):
        """A setting is not part of the SQL."""
        expiries = []
        for seconds in (20, 2000):
            with override_settings(STREAMING_CHAT_LEASE_SECONDS=seconds):
                message = make_message(make_conversation())
                insert_live_reply(message, "u:1", "me", None, "default")
            expiries.append(LiveReply.objects.get(pk=message.pk).expires_at)

        assert expiries[1] - expiries[0] > timedelta(seconds=1900)
