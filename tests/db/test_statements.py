"""Statements that Django compiles once: their SQL and parameters are those of the ORM."""

import threading
import uuid
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, connection, connections
from django.db.models import CharField, DurationField, F, UUIDField
from django.db.models.functions import Now
from django.db.models.lookups import In
from django.db.models.signals import post_init, post_save
from django.test import TestCase

from streaming_chat.db.rows import new_row, stored_rows, with_defaults
from streaming_chat.db.statements import (
    Argument,
    Arguments,
    Statement,
    arguments,
    create,
    delete,
    insert,
    insertion,
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

    def columns(self) -> list[dict[str, Any]]:
        text = {"text": "é", "parts": [{"kind": "text", "text": "é"}], "cost": "0.5"}
        reply = {"role": Message.Role.ASSISTANT, "page_context": {}, "tokens_estimated": True}
        ids = (uuid.UUID(int=1), uuid.UUID(int=2))
        return [{"id": pk, **self.key, **columns} for pk, columns in zip(ids, (text, reply), strict=True)]

    @property
    def key(self) -> dict[str, Any]:
        return {"conversation_id": self.conversation.pk}

    def test_the_rows_are_those_that_the_orm_inserts(self):
        insert([new_row(Message, **columns) for columns in self.columns()], "default")
        compiled = stored(Message)
        Message.objects.all().delete()
        Message.objects.bulk_create([Message(**columns) for columns in self.columns()])

        assert compiled == stored(Message)

    def test_a_row_of_every_model_that_a_send_writes(self):
        """With the defaults of its fields, and nulls where it has none."""
        owner = {"owner_id": self.conversation.owner_id, "owner_key": self.conversation.owner_key}
        rows: list[tuple[Any, dict[str, Any]]] = [
            (Conversation, {"id": uuid.UUID(int=1), **owner, "sample_number": 1}),
            (SearchEntry, {"id": 1, **self.key, "message_id": None, "words": ["a"]}),
        ]
        for model, columns in rows:
            insert([new_row(model, **columns)], "default")
            compiled = stored(model)
            model.objects.filter(pk=columns["id"]).delete()
            model.objects.bulk_create([model(**columns)])

            assert compiled == stored(model)

    def test_several_rows_are_one_statement(self):
        with executed() as statements:
            insert([new_row(Message, **columns) for columns in self.columns()], "default")

        assert len(statements) == 1

    def test_defaults_are_drawn_for_each_row(self):
        for _conversation in range(20):
            owner = {"owner_id": self.conversation.owner_id, "owner_key": self.conversation.owner_key}
            insert([new_row(Conversation, **owner)], "default")

        assert len(set(Conversation.objects.values_list("sample_number", flat=True))) > 1

    def test_a_null_in_a_column_with_a_default_is_stored(self):
        insert([new_row(Message, **self.key, redacted_by=None, send_key=None, page_context=None)], "default")
        with self.assertRaises(IntegrityError):
            insert([new_row(Message, **self.key, parts=None)], "default")

    def test_a_time_may_be_given(self):
        moment = self.conversation.created_at - timedelta(days=1)
        insert([new_row(Message, **self.key, created_at=moment)], "default")

        assert Message.objects.get().created_at == moment

    def test_either_all_rows_have_a_time_or_none(self):
        with_time = new_row(Message, **self.key, created_at=self.conversation.created_at)

        with self.assertRaisesMessage(ValueError, "Message.created_at must have a value in all rows, or in none."):
            insert([with_time, new_row(Message, **self.key)], "default")

    def test_the_database_numbers_the_rows(self):
        message = make_message(self.conversation)
        event = {"message_id": message.pk, "kind": "text", "payload": "a"}
        insert([new_row(ReplyEvent, **event, position=at) for at in (1, 2)], "default")

        assert list(ReplyEvent.objects.order_by("id").values_list("position", flat=True)) == [1, 2]

    def test_many_rows(self):
        insert([new_row(Message, **self.key) for _row in range(100)], "default")

        assert self.conversation.messages.count() == 100

    def test_what_was_not_given_is_read_when_it_is_used(self):
        message = new_row(Message, **self.key)
        insert([message], "default")

        assert {"created_at", "text"} <= message.get_deferred_fields()
        assert message.created_at == Message.objects.get().created_at

    def test_a_row_is_saved_afterwards(self):
        conversation = new_row(Conversation, owner_id=self.conversation.owner_id, owner_key="u:1")
        insert([conversation], "default")
        conversation.title = "Rain"
        conversation.save()

        assert Conversation.objects.get(pk=conversation.pk).title == "Rain"


class CreateTests(TestCase):
    def create(self) -> Conversation:
        return create(Conversation, "default", owner_id=make_user().pk, owner_key="u:1")

    def test_a_site_may_listen_to_the_signals_of_the_model(self):
        saved = []

        def note(sender: Any, instance: Any, created: bool, using: str, **kwargs: Any) -> None:
            saved.append((instance, created, using))

        post_save.connect(note, sender=Conversation)
        self.addCleanup(post_save.disconnect, note, sender=Conversation)
        conversation = self.create()

        assert saved == [(conversation, True, "default")]
        assert Conversation.objects.get() == conversation

    def test_without_a_receiver_it_is_a_compiled_statement(self):
        owner_id = make_user().pk
        with executed() as statements:
            conversation = create(Conversation, "default", owner_id=owner_id, owner_key="u:1")

        assert len(statements) == 1
        assert Conversation.objects.get() == conversation


class RowTests(TestCase):
    def test_a_site_may_listen_to_the_making_of_rows(self):
        made = []

        def note(sender: Any, instance: Any, **kwargs: Any) -> None:
            made.append(instance.title)

        post_init.connect(note, sender=Conversation)
        self.addCleanup(post_init.disconnect, note, sender=Conversation)
        rows = [new_row(Conversation, title="Rain"), *stored_rows(Conversation, "default", ["title"], [["Snow"]])]

        assert made == ["Rain", "Snow"]
        assert [row._state.adding for row in rows] == [True, False]

    def test_a_row_with_defaults_is_that_of_the_model(self):
        given = {"id": uuid.UUID(int=1), "role": "user"}

        assert all(
            getattr(with_defaults(new_row(Message, **given)), field.attname) == getattr(Message(**given), field.attname)
            for field in Message._meta.concrete_fields
            if not field.has_db_default()
        )


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
