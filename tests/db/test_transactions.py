"""The only place that opens a transaction: how long it waits for a lock, and what it does after a deadlock."""

import ast
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psycopg
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.test import SimpleTestCase, TestCase

import streaming_chat
from streaming_chat.db.errors import is_locked
from streaming_chat.db.transactions import savepoint, write_transaction
from streaming_chat.models import Conversation, QuotaUse
from tests.factories import make_conversation, make_user
from tests.held_rows import HeldRowsCase
from tests.servers import wait_until

PACKAGE = Path(streaming_chat.__file__).parent
# These would open one, or end one that somebody else has opened.
NAMES = {"atomic", "set_autocommit", "commit", "rollback"}


def retitle(conversation: Conversation, title: str) -> int:
    return Conversation.objects.filter(pk=conversation.pk).update(title=title)


def calls(path: Path) -> Iterator[str]:
    """Yield the transaction functions that a module names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value).split(".")[-1] == "transaction":
            yield from {node.attr} & NAMES
        elif isinstance(node, ast.ImportFrom) and node.module == "django.db.transaction":
            yield from {alias.name for alias in node.names} & NAMES


class OnlyPlaceTests(SimpleTestCase):
    def test_no_other_module_opens_a_transaction(self):
        """One that did would wait for a locked row for as long as another session holds it."""
        found = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if set(calls(path))}

        assert found == {"db/transactions.py"}


class WriteTransactionTests(TestCase):
    def test_it_returns_what_was_returned(self):
        conversation = make_conversation()

        assert write_transaction(partial(retitle, conversation, "Snow")) == 1
        assert Conversation.objects.get().title == "Snow"

    def test_an_error_undoes_all_of_it(self):
        conversation = make_conversation()

        def write() -> None:
            retitle(conversation, "Snow")
            raise ValueError

        with self.assertRaises(ValueError):
            write_transaction(write)

        assert Conversation.objects.get().title == "Rain in Lisbon"

    def test_another_error_is_not_tried_again(self):
        calls = []

        def write() -> None:
            calls.append(1)
            raise IntegrityError

        with self.assertRaises(IntegrityError):
            write_transaction(write)

        assert calls == [1]


class SavepointTests(TestCase):
    def test_the_transaction_around_it_goes_on(self):
        conversation = make_conversation()
        with self.assertRaises(DatabaseError), savepoint(connection.alias):
            retitle(conversation, "Snow")
            QuotaUse.objects.bulk_create([QuotaUse(day="2026-01-01", key="a")] * 2)

        assert Conversation.objects.get().title == "Rain in Lisbon"


class LockTests(HeldRowsCase):
    def setUp(self):
        self.conversation = make_conversation()
        self.other = make_conversation(make_user("ben"))

    def test_a_lock_is_waited_for_this_long_and_no_longer(self):
        with self.held(self.conversation), self.assertRaises(DatabaseError) as caught:
            write_transaction(partial(retitle, self.conversation, "Snow"), lock_seconds=0.1)

        assert is_locked(caught.exception)

    def test_a_lock_that_is_let_go_in_time_is_taken(self):
        with self.held(self.conversation) as session:
            writer = threading.Thread(target=self.retitle_in_thread)
            writer.start()
            wait_until(self.waiting)
            session.commit()
            writer.join()

        assert Conversation.objects.get(pk=self.conversation.pk).title == "Snow"

    def test_a_transaction_of_the_sites_own_waits_as_before(self):
        """It is a savepoint there, after which the view of the site goes on."""
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '1234ms'")
            write_transaction(partial(retitle, self.conversation, "Snow"), lock_seconds=0.1)
            after_success = lock_timeout()
            with self.held(self.other), self.assertRaises(DatabaseError):
                write_transaction(partial(retitle, self.other, "Snow"), lock_seconds=0.1)
            after_failure = lock_timeout()

        assert (after_success, after_failure) == ("1234ms", "1234ms")
        assert Conversation.objects.get(pk=self.conversation.pk).title == "Snow"

    def test_after_a_deadlock_it_is_done_again(self):
        """PostgreSQL undoes one of the two; which had a long deadlock_timeout is not the one."""
        calls = []

        def write() -> None:
            calls.append(1)
            retitle(self.other, "Snow")
            if len(calls) == 1:
                opponent.start()
                wait_until(self.waiting)
            retitle(self.conversation, "Snow")

        with self.held(self.conversation) as session:
            session.execute("SET deadlock_timeout = '1min'")
            opponent = threading.Thread(target=self.update_other, args=[session])
            write_transaction(write)
            opponent.join()

        # More than twice, if the other session is slower to take the row than this one is.
        assert len(calls) > 1
        assert set(Conversation.objects.values_list("title", flat=True)) == {"Snow"}

    def update_other(self, session: psycopg.Connection) -> None:
        session.execute("UPDATE streaming_chat_conversation SET title = 'Hail' WHERE id = %s", [self.other.pk])
        session.commit()

    def retitle_in_thread(self) -> None:
        try:
            write_transaction(partial(retitle, self.conversation, "Snow"), lock_seconds=60)
        finally:
            connection.close()


def lock_timeout() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SHOW lock_timeout")
        return cursor.fetchone()[0]
