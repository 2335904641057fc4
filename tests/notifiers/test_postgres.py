"""The tail through the database: PostgreSQL's notifications, heard on a direct connection, or not."""

import threading
import uuid

import psycopg
from django.db import connection, transaction
from django.db.backends.signals import connection_created
from django.test import TransactionTestCase

from streaming_chat.notifiers.postgres import PostgresNotifier
from tests.database import database_url
from tests.servers import wait_until


class Hearer:
    """What a process that follows and writes hears."""

    def __init__(self):
        self.told = []
        self.woken = []

    def news(self, message_ids):
        self.told.extend(message_ids)

    def received(self, message_id, position, events):
        raise AssertionError("notifications carry no events.")

    def wake(self, message_ids):
        self.woken.extend(message_ids)


class DeafTests(TransactionTestCase):
    """Without `listen_dsn`, or where it leads nowhere: replies are looked for, and nobody gets an error."""

    def tail(self, **options):
        tail = PostgresNotifier(**options)
        self.addCleanup(tail.unsubscribe, self.reply)
        return tail

    def setUp(self):
        self.reply = uuid.uuid4()
        self.hearer = Hearer()

    def test_without_it_there_is_no_thread(self):
        tail = self.tail()
        tail.subscribe(self.reply, self.hearer, "default")
        tail.notify_on_commit("default", [self.reply])
        tail.wake("default", "worker", self.reply)

        assert not tail.is_connected
        assert tail._thread is None

    def test_an_address_where_nobody_answers_is_one_warning(self):
        tail = self.tail(listen_dsn="postgres://nobody@127.0.0.1:1/nothing")
        with self.assertLogs("streaming_chat", "WARNING") as logs:
            tail.subscribe(self.reply, self.hearer, "default")
            wait_until(lambda: logs.records)

        assert "looked for every 0.3 s" in logs.output[0]
        assert not tail.is_connected


class ListeningTests(TransactionTestCase):
    """What PostgreSQL does; on SQLite the same options hear nothing."""

    def setUp(self):
        self.reply = uuid.uuid4()
        self.hearer = Hearer()
        # On SQLite there is nothing that could answer.
        is_postgres = connection.vendor == "postgresql"
        self.tail = PostgresNotifier(
            listen_dsn=database_url() if is_postgres else "postgres://nobody@127.0.0.1:1/nothing"
        )
        self.addCleanup(self.wait_until_closed)
        self.addCleanup(self.tail.stop_listening)
        self.addCleanup(self.tail.unsubscribe, self.reply)
        self.tail.listen("worker", self.hearer.wake, "default")
        self.tail.subscribe(self.reply, self.hearer, "default")
        self.is_connected = is_postgres
        if is_postgres:
            wait_until(lambda: self.tail.is_connected)
            wait_until(lambda: self.hearer.told)
            self.hearer.told.clear()

    def wait_until_closed(self):
        """A connection that listens would keep the test's database from being dropped."""
        if self.is_connected:
            listening = (
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%%' OR query LIKE '%%pg_notify%%'"
            )
            wait_until(lambda: self.count(listening) == 1)

    def count(self, statement):
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone()[0]

    def last_heard(self, heard, marker):
        """Say one thing more, and return what was heard until then: nothing if there is no PostgreSQL."""
        if self.is_connected:
            wait_until(lambda: marker in heard)
        return heard

    def test_followers_are_told_after_the_commit(self):
        with transaction.atomic():
            self.tail.notify_on_commit("default", [uuid.uuid4(), self.reply])
            assert self.hearer.told == []

        assert self.last_heard(self.hearer.told, self.reply) == [self.reply] * self.is_connected

    def test_what_is_rolled_back_was_never_said(self):
        transaction.set_autocommit(False)
        self.tail.notify_on_commit("default", [self.reply])
        transaction.rollback()
        transaction.set_autocommit(True)
        self.tail.wake("default", "worker", self.reply)

        self.last_heard(self.hearer.woken, self.reply)
        assert self.hearer.told == []

    def test_a_thousand_at_once(self):
        with transaction.atomic():
            self.tail.notify_on_commit("default", [*(uuid.uuid4() for _ in range(1_000)), self.reply])

        assert self.last_heard(self.hearer.told, self.reply) == [self.reply] * self.is_connected

    def test_only_the_worker_that_is_meant_is_summoned(self):
        other, last = uuid.uuid4(), uuid.uuid4()
        self.tail.wake("default", "another", other)
        self.tail.wake("default", "worker", last)

        assert self.last_heard(self.hearer.woken, last) == [last] * self.is_connected

    def test_it_hears_again_after_its_connection_was_ended(self):
        if self.is_connected:
            with self.assertLogs("streaming_chat", "INFO") as logs:
                self.count("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE 'LISTEN%%'")
                wait_until(lambda: not self.tail.is_connected)
                wait_until(lambda: self.tail.is_connected, 20)

            assert "not heard" in logs.output[0]
            assert "heard again" in logs.output[-1]
        # What was said meanwhile is in the rows: everything followed is looked at.
        assert self.last_heard(self.hearer.told, self.reply) == [self.reply] * self.is_connected

    def test_it_hears_again_after_the_sites_own_connection_was_ended_too(self):
        """Just when its thread had opened it: a broken one that stays open here fails for ever."""
        ended = []

        def end(connection, **kwargs):
            if threading.current_thread().name == "streaming_chat.tail" and not ended:
                pid = connection.connection.info.backend_pid
                ended.append(pid)
                with psycopg.connect(database_url(), autocommit=True) as session:
                    session.execute("SELECT pg_terminate_backend(%s)", [pid])

        connection_created.connect(end)
        self.addCleanup(connection_created.disconnect, end)
        if self.is_connected:
            with self.assertLogs("streaming_chat", "INFO"):
                self.count("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE 'LISTEN%%'")
                wait_until(lambda: ended, 20)
                wait_until(lambda: self.tail.is_connected, 20)

        assert self.last_heard(self.hearer.told, self.reply) == [self.reply] * self.is_connected
