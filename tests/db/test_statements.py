"""Statements that Django compiles once: their SQL and parameters are those of the ORM."""

import threading
import uuid
from copy import copy
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, connection, connections
from django.db.models import CharField, DurationField, F, UUIDField
from django.db.models.functions import Now
from django.db.models.lookups import In
from django.db.models.signals import post_save
from django.test import TestCase

from streaming_chat.db.statements import (
    Argument,
    Arguments,
    Statement,
    arguments,
    delete,
    insert,
    insertion,
    save_new,
    update,
)
from streaming_chat.models import Conversation, LiveReply, Message, ReplyEvent, SearchEntry
from tests.executed import executed, executed_by
from tests.factories import make_conversation, make_live, make_message, make_user

COLUMNS = ("pk", "parts", "created_at", "cost", "tokens_estimated", "conversation__owner_key")


@Statement
def messages_of() -> Any:
    rows = Message.objects.filter(conversation=Argument("conversation", UUIDField())).order_by("created_at", "id")
    return rows.values_list(*COLUMNS)


@Statement
def titles_by_key(count: int) -> Any:
    rows = Conversation.objects.filter(pk__in=arguments("ids", UUIDField(), count)).order_by("title")
    return rows.values_list("title")


@Statement
def titles_of_any() -> Any:
    rows = Conversation.objects.filter(In(F("pk"), Arguments("ids", UUIDField()))).order_by("title")
    return rows.values_list("title")


@Statement
def extend_lease() -> Any:
    row = LiveReply.objects.filter(pk=Argument("pk", UUIDField()))
    return update(
        row,
        expires_at=Now() + Argument("lease", DurationField()),
        slot=F("slot") + 1,
        reserved=Argument("reserved", LiveReply._meta.get_field("reserved")),
    )


@Statement
def remove(count: int) -> Any:
    return delete(LiveReply.objects.filter(In(F("message"), arguments("ids", UUIDField(), count)), worker="w"))


@Statement
def insert_live() -> Any:
    fields = {field.attname: field for field in LiveReply._meta.concrete_fields}
    names = ("message_id", "conversation_id", "owner_key", "slot", "worker", "reserved")
    lease = Argument("lease", DurationField())
    return insertion([LiveReply(**{name: Argument(name, fields[name]) for name in names}, expires_at=Now() + lease)])


class SelectTests(TestCase):
    def test_its_sql_and_parameters_are_those_of_the_orm(self):
        conversation = make_conversation()
        rows = Message.objects.filter(conversation=conversation.pk).order_by("created_at", "id")

        assert executed_by(messages_of.rows, "default", conversation=conversation.pk) == executed_by(
            list, rows.values_list(*COLUMNS)
        )

    def test_its_values_are_those_of_the_orm(self):
        conversation = make_message(make_conversation(), parts=[{"kind": "text", "text": "é"}], cost="0.5").conversation
        rows = Message.objects.filter(conversation=conversation.pk).order_by("created_at", "id")

        assert messages_of.rows("default", conversation=conversation.pk) == list(rows.values_list(*COLUMNS))

    def test_a_list_may_have_any_length(self):
        conversations = [make_conversation(title=title) for title in "abc"]
        for count in (1, 3, 2):
            keys = [conversation.pk for conversation in conversations[:count]]

            assert titles_by_key.rows("default", count, ids=keys) == [(title,) for title in "abc"[:count]]

    def test_a_list_may_be_one_parameter(self):
        """Also one of more values than SQLite takes parameters."""
        keys = [make_conversation(title=title).pk for title in "abc"]
        others = [uuid.uuid4() for _key in range(40_000)]

        assert titles_of_any.rows("default", ids=[]) == []
        assert titles_of_any.rows("default", ids=keys[:1]) == [("a",)]
        assert titles_of_any.rows("default", ids=[*keys, *others]) == [("a",), ("b",), ("c",)]

    def test_a_missing_argument_is_an_error(self):
        with self.assertRaisesMessage(KeyError, "conversation"):
            messages_of.rows("default")


class WriteTests(TestCase):
    def setUp(self) -> None:
        self.live = make_live(make_conversation(), worker="w")

    def test_an_update_is_that_of_the_orm(self):
        lease, reserved = timedelta(seconds=12.5), {"tokens": 5}
        row = LiveReply.objects.filter(pk=self.live.pk)
        values = {"expires_at": Now() + lease, "slot": F("slot") + 1, "reserved": reserved}

        compiled = executed_by(extend_lease.execute, "default", pk=self.live.pk, lease=lease, reserved=reserved)

        assert compiled == executed_by(row.update, **values)

    def test_it_returns_the_number_of_rows(self):
        arguments = {"lease": timedelta(seconds=1), "reserved": None}

        assert extend_lease.execute("default", pk=self.live.pk, **arguments) == 1
        assert extend_lease.execute("default", pk=uuid.uuid4(), **arguments) == 0

    def test_many_uses_are_one_call(self):
        other = make_live(make_conversation(), worker="w", slot=9)
        uses = [{"pk": live.pk, "lease": timedelta(1), "reserved": {"of": live.worker}} for live in (self.live, other)]

        with executed() as statements:
            changed = extend_lease.execute_many("default", uses)

        assert (changed, len(statements)) == (2, 1)
        assert [live.reserved for live in LiveReply.objects.all()] == [{"of": "w"}, {"of": "w"}]

    def test_none_is_null(self):
        extend_lease.execute("default", pk=self.live.pk, lease=timedelta(1), reserved=None)

        assert LiveReply.objects.filter(reserved__isnull=True).exists()

    def test_a_deletion_is_that_of_the_orm(self):
        keys = [self.live.pk, uuid.uuid4()]

        compiled = executed_by(remove.execute, "default", 2, ids=keys)

        assert not LiveReply.objects.exists()
        assert compiled == executed_by(LiveReply.objects.filter(pk__in=keys, worker="w").remove)

    def test_an_insertion_with_expressions_is_that_of_the_orm(self):
        message = make_message(make_conversation())
        lease, reserved = timedelta(seconds=30), [1, 2]
        values = {"owner_key": "u:1", "slot": 7, "worker": "w", "reserved": reserved}
        ids = {"message_id": message.pk, "conversation_id": message.conversation_id}

        [(sql, parameters)] = executed_by(insert_live.execute, "default", lease=lease, **ids, **values)

        assert LiveReply.objects.get(pk=message.pk).reserved == reserved
        LiveReply.objects.filter(pk=message.pk).remove()
        live = LiveReply(**ids, **values, expires_at=Now() + lease)
        [(of_orm, parameters_of_orm)] = executed_by(LiveReply.objects.bulk_create, [live])
        assert parameters == [parameter for parameter in parameters_of_orm if parameter != "None"]
        assert sql.count("%s") + parameters_of_orm.count("None") == of_orm.count("%s")


def stored(model: Any) -> list[dict[str, Any]]:
    """Return the rows as the database has them, without the time of their creation."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {model._meta.db_table}")  # noqa: S608
        names = [column[0] for column in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return [{name: value for name, value in row.items() if name not in ("created_at", "last_activity")} for row in rows]


class InsertTests(TestCase):
    def setUp(self) -> None:
        self.conversation = make_conversation()

    def messages(self) -> list[Message]:
        text = {"text": "é", "parts": [{"kind": "text", "text": "é"}], "cost": "0.5"}
        reply = {"role": "assistant", "page_context": {}, "tokens_estimated": True}
        ids = (uuid.UUID(int=1), uuid.UUID(int=2))
        fields = zip(ids, (text, reply), strict=True)
        return [Message(pk=pk, conversation=self.conversation, **values) for pk, values in fields]

    def test_the_rows_are_those_that_the_orm_inserts(self):
        insert(self.messages(), "default")
        compiled = stored(Message)
        Message.objects.all().delete()
        Message.objects.bulk_create(self.messages())

        assert compiled == stored(Message)

    def test_a_row_of_every_model_that_a_send_writes(self):
        """With the defaults of its fields, and nulls where it has none."""
        fields = {"owner_id": self.conversation.owner_id, "owner_key": self.conversation.owner_key, "sample_number": 1}
        rows = [
            Conversation(pk=uuid.UUID(int=1), **fields),
            SearchEntry(pk=1, conversation=self.conversation, words=["a"]),
        ]
        for row in rows:
            of_row = type(row).objects.filter(pk=row.pk)
            insert([copy(row)], "default")
            compiled = stored(type(row))
            of_row.delete()
            type(row).objects.bulk_create([row])

            assert compiled == stored(type(row))

    def test_several_rows_are_one_statement(self):
        with executed() as statements:
            insert(self.messages(), "default")

        assert len(statements) == 1

    def test_defaults_are_drawn_for_each_row(self):
        fields = {"owner_id": self.conversation.owner_id, "owner_key": self.conversation.owner_key}
        for _conversation in range(20):
            insert([Conversation(**fields)], "default")

        assert len(set(Conversation.objects.values_list("sample_number", flat=True))) > 1

    def test_a_null_in_a_column_with_a_default_is_stored(self):
        insert([Message(conversation=self.conversation, redacted_by=None, send_key=None, page_context=None)], "default")
        with self.assertRaises(IntegrityError):
            insert([Message(conversation=self.conversation, parts=None)], "default")

    def test_a_time_may_be_given(self):
        moment = self.conversation.created_at - timedelta(days=1)
        insert([Message(conversation=self.conversation, created_at=moment)], "default")

        assert Message.objects.get().created_at == moment

    def test_either_all_rows_have_a_time_or_none(self):
        with_time = Message(conversation=self.conversation, created_at=self.conversation.created_at)
        rows = [with_time, Message(conversation=self.conversation)]

        with self.assertRaisesMessage(ValueError, "Message.created_at must have a value in all rows, or in none."):
            insert(rows, "default")

    def test_the_database_numbers_the_rows(self):
        message = make_message(self.conversation)
        insert([ReplyEvent(message=message, position=at, kind="text", payload="a") for at in (1, 2)], "default")

        assert list(ReplyEvent.objects.order_by("id").values_list("position", flat=True)) == [1, 2]

    def test_many_rows(self):
        insert([Message(conversation=self.conversation) for _row in range(100)], "default")

        assert self.conversation.messages.count() == 100

    def test_what_the_database_supplies_is_read_when_it_is_used(self):
        message = Message(conversation=self.conversation)
        insert([message], "default")

        assert message.get_deferred_fields() == {"created_at"}
        assert message.created_at == Message.objects.get().created_at

    def test_a_row_is_saved_afterwards(self):
        conversation = Conversation(owner=self.conversation.owner, owner_key="u:1")
        insert([conversation], "default")
        conversation.title = "Rain"
        conversation.save()

        assert Conversation.objects.get(pk=conversation.pk).title == "Rain"


class SaveNewTests(TestCase):
    def setUp(self) -> None:
        self.conversation = Conversation(owner=make_user(), owner_key="u:1")

    def test_a_site_may_listen_to_the_signals_of_the_model(self):
        saved = []

        def note(sender: Any, instance: Any, created: bool, using: str, **kwargs: Any) -> None:
            saved.append((instance, created, using))

        post_save.connect(note, sender=Conversation)
        self.addCleanup(post_save.disconnect, note, sender=Conversation)
        save_new(self.conversation, "default")

        assert saved == [(self.conversation, True, "default")]
        assert Conversation.objects.get() == self.conversation

    def test_without_a_receiver_it_is_a_compiled_statement(self):
        with executed() as statements:
            save_new(self.conversation, "default")

        assert len(statements) == 1
        assert Conversation.objects.get() == self.conversation


class ReuseTests(TestCase):
    def test_it_is_compiled_once(self):
        built = []

        @Statement
        def titles() -> Any:
            built.append(1)
            return Conversation.objects.filter(title=Argument("title", CharField())).values_list("title")

        make_conversation(title="a")
        found = [titles.rows("default", title=title) for title in ("a", "b", "a")]

        assert found == [[("a",)], [], [("a",)]]
        assert len(built) == 1

    def test_it_keeps_no_connection(self):
        """A connection belongs to a thread, and a statement to all of them."""
        numbers = []

        def read_elsewhere() -> None:
            numbers.append(len(messages_of.rows("default", conversation=uuid.uuid4())))
            connections.close_all()

        thread = threading.Thread(target=read_elsewhere)
        messages_of.rows("default", conversation=uuid.uuid4())
        thread.start()
        thread.join()

        assert numbers == [0]
