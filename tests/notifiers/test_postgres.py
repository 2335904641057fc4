"""PostgresNotifier: notifications that arrive on a direct connection, or do not."""

import subprocess
import sys
import threading
import uuid

import psycopg
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction
from django.db.backends.signals import connection_created
from django.test import SimpleTestCase, TestCase, TransactionTestCase

from streaming_chat.notifiers.postgres import PostgresNotifier
from tests.database import database_url
from tests.servers import wait_until

NOWHERE = "postgres://nobody@127.0.0.1:1/nothing"


class Receiver:
    """Records what a process that follows and writes is told."""

    def __init__(self):
        self.changed = []
        self.woken = []

    def rows_changed(self, message_ids):
        self.changed.extend(message_ids)

    def events_received(self, message_id, position, events):
        raise AssertionError("notifications carry no events.")

    def wake(self, message_ids):
        self.woken.extend(message_ids)


class ConfigurationTests(SimpleTestCase):
    def test_a_dsn_that_is_not_postgresqls_is_refused(self):
        for dsn, got in [
            ("redis+tls://me:secret@h", "redis+tls://…"),
            ("", "str of length 0"),
            (None, "NoneType of length 4"),
        ]:
            with self.subTest(dsn=dsn), self.assertRaises(ImproperlyConfigured) as raised:
                PostgresNotifier(listen_dsn=dsn)

            wanted = "listen_dsn must be a connection string like postgresql://user@host/name"
            assert str(raised.exception) == f"{wanted}, got {got}."

    def test_both_forms_of_a_dsn_are_taken(self):
        for dsn in ("postgresql://me@host:5433/name?sslmode=require", "host=/run/postgresql dbname=name"):
            assert not PostgresNotifier(listen_dsn=dsn).is_connected

    @pytest.mark.slow
    def test_without_psycopg_it_says_what_to_install(self):
        program = "\n".join(
            [
                "import sys",
                "sys.modules['psycopg'] = None",
                "from django.conf import settings; settings.configure(); import django; django.setup()",
                "from streaming_chat.notifiers.postgres import PostgresNotifier",
                f"PostgresNotifier(listen_dsn={NOWHERE!r})",
            ]
        )
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

        assert ended.stderr.endswith(
            "PostgresNotifier needs psycopg 3, which is not installed: pip install 'psycopg[binary]'.\n"
        )


class CheckTests(TestCase):
    def test_another_database_is_a_warning(self):
        found = PostgresNotifier(listen_dsn=NOWHERE).check()
        expected = [] if connection.vendor == "postgresql" else ["streaming_chat.W010"]

        assert [message.id for message in found] == expected


class UnreachableTests(TransactionTestCase):
    def test_an_address_where_nobody_answers_is_one_warning(self):
        """Processes read the database instead, and nobody gets an error."""
        reply = uuid.uuid4()
        notifier = PostgresNotifier(listen_dsn=NOWHERE)
        self.addCleanup(notifier.close)
        with self.assertLogs("streaming_chat", "WARNING") as logs:
            notifier.subscribe(reply, Receiver(), "default")
            wait_until(lambda: logs.records)
            notifier.notify_on_commit("default", [reply])
            notifier.wake("default", "worker", reply)

        assert "the database is read every 0.3 s" in logs.output[0]
        assert not notifier.is_connected

    def test_there_is_no_thread_before_it_is_used(self):
        notifier = PostgresNotifier(listen_dsn=NOWHERE)
        notifier.notify_on_commit("default", [uuid.uuid4()])
        notifier.wake("default", "worker", uuid.uuid4())

        assert notifier._thread is None


class ListeningTests(TransactionTestCase):
    """What PostgreSQL does; on SQLite the same calls do nothing."""

    def setUp(self):
        self.reply = uuid.uuid4()
        self.receiver = Receiver()
        self.is_postgres = connection.vendor == "postgresql"
        self.notifier = PostgresNotifier(listen_dsn=database_url() if self.is_postgres else NOWHERE)
        self.addCleanup(self.wait_until_closed)
        self.addCleanup(self.notifier.close)
        self.notifier.listen("worker", self.receiver.wake, "default")
        self.notifier.subscribe(self.reply, self.receiver, "default")
        if self.is_postgres:
            wait_until(lambda: self.notifier.is_connected)
            wait_until(lambda: self.receiver.changed)
            self.receiver.changed.clear()

    def wait_until_closed(self):
        """A connection that listens would keep the test's database from being dropped."""
        if self.is_postgres:
            listening = (
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%%' OR query LIKE '%%pg_notify%%'"
            )
            wait_until(lambda: self.count(listening) == 1)

    def count(self, statement):
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone()[0]

    def end_listening_connections(self):
        self.count("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE 'LISTEN%%'")

    def received(self, ids, last):
        """Return these ids once the last has arrived; without PostgreSQL nothing arrives."""
        if self.is_postgres:
            wait_until(lambda: last in ids)
        return ids

    def test_subscribers_are_notified_after_the_commit(self):
        with transaction.atomic():
            self.notifier.notify_on_commit("default", [uuid.uuid4(), self.reply])
            assert self.receiver.changed == []

        assert self.received(self.receiver.changed, self.reply) == [self.reply] * self.is_postgres

    def test_nobody_is_notified_of_what_was_rolled_back(self):
        transaction.set_autocommit(False)
        self.notifier.notify_on_commit("default", [self.reply])
        transaction.rollback()
        transaction.set_autocommit(True)
        self.notifier.wake("default", "worker", self.reply)

        self.received(self.receiver.woken, self.reply)
        assert self.receiver.changed == []

    def test_a_thousand_at_once(self):
        with transaction.atomic():
            self.notifier.notify_on_commit("default", [*(uuid.uuid4() for _ in range(1_000)), self.reply])

        assert self.received(self.receiver.changed, self.reply) == [self.reply] * self.is_postgres

    def test_only_the_worker_that_is_meant_is_woken(self):
        other, last = uuid.uuid4(), uuid.uuid4()
        self.notifier.wake("default", "another", other)
        self.notifier.wake("default", "worker", last)

        assert self.received(self.receiver.woken, last) == [last] * self.is_postgres

    def test_it_connects_again_after_its_connection_was_ended(self):
        if self.is_postgres:
            with self.assertLogs("streaming_chat", "INFO") as logs:
                self.end_listening_connections()
                wait_until(lambda: not self.notifier.is_connected)
                wait_until(lambda: self.notifier.is_connected, 20)

            assert "do not arrive" in logs.output[0]
            assert "arrive again" in logs.output[-1]
        # Notifications of the meantime are lost, so all that is followed is read.
        assert self.received(self.receiver.changed, self.reply) == [self.reply] * self.is_postgres

    def test_it_connects_again_after_the_sites_own_connection_was_ended_too(self):
        """Just when its thread had opened it: a broken one that stays open here fails for ever."""
        ended = []

        def end(connection, **kwargs):
            if threading.current_thread().name == "streaming_chat.notifier" and not ended:
                pid = connection.connection.info.backend_pid
                ended.append(pid)
                with psycopg.connect(database_url(), autocommit=True) as session:
                    session.execute("SELECT pg_terminate_backend(%s)", [pid])

        connection_created.connect(end)
        self.addCleanup(connection_created.disconnect, end)
        if self.is_postgres:
            with self.assertLogs("streaming_chat", "INFO"):
                self.end_listening_connections()
                wait_until(lambda: ended, 20)
                wait_until(lambda: self.notifier.is_connected, 20)

        assert self.received(self.receiver.changed, self.reply) == [self.reply] * self.is_postgres
