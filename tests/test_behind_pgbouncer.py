"""Between the app and PostgreSQL stands pgbouncer in transaction mode, and may go away itself."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import psycopg
import pytest
from django.db import connection, transaction
from django.utils import timezone

from streaming_chat.accounts.owners import user_key
from streaming_chat.db.uuid7 import uuid7
from streaming_chat.exports import rows, transcripts
from streaming_chat.models import Conversation, Feedback, Message

from .factories import make_conversation, make_reply, make_staff, make_user
from .faulty_postgres import FaultCase, FaultyPostgres, Reading, default_database
from .pgbouncer import PgBouncer
from .provider_server import Gate, Script
from .servers import Browser, held, outcome, wait_until

pytestmark = pytest.mark.nginx

WORDS = tuple(f"wörd{number} " for number in range(10))
HALF = "".join(WORDS[:5])


class PgBouncerCase(FaultCase):
    """Has a pgbouncer before its PostgreSQL. sessions: that the clients share. log: the server's."""

    sessions = 4
    options: dict[str, str] = {}

    @classmethod
    @contextmanager
    def database(cls):
        with tempfile.TemporaryDirectory(prefix="streaming_chat_faulty_", ignore_cleanup_errors=True) as folder:
            cls.log = Path(folder, "log")
            cls.postgres = FaultyPostgres(Path(folder), synchronous_commit="on", **cls.options)
            cls.postgres.start()
            # Tells its statements apart in the server's log: pgbouncer leaves the name of the last one that has any.
            named = {"application_name": "tests"}
            try:
                with (
                    PgBouncer(cls.postgres.port, cls.sessions) as cls.bouncer,
                    default_database(cls.bouncer.url, OPTIONS=named),
                ):
                    yield
            finally:
                connection.close()
                cls.postgres.stop()


class PgBouncerTests(PgBouncerCase):
    def open_half(self, asked: str, gate: Gate):
        self.provider.by_text[asked] = Script(WORDS, gates={5: gate})
        exchange = self.browser.send(asked).until_text(HALF)
        self.until_saved(exchange, HALF)
        return exchange

    def test_replies_of_two_processes_stream_stop_and_are_followed(self):
        """With fewer sessions than clients, each transaction may run in another one."""
        gate = Gate()
        with held(gate), self.serve() as server:
            there = self.browse(server)
            exchanges = [self.open_half(f"Behind pgbouncer {number}", gate) for number in range(6)]
            followed = [there.follow(exchange.message_id).until_text(HALF) for exchange in exchanges]

            assert there.stop(exchanges[0].message_id).status in (200, 202)
            exchanges[0].rest()
            gate.open()
            for exchange in (*exchanges, *followed):
                exchange.rest()

        for exchange, follower in zip(exchanges, followed, strict=True):
            expected = ("stopped", "user", "") if exchange is exchanges[0] else ("completed", "stop", "")
            self.check("behind pgbouncer, in transaction mode", exchange, expected)
            assert follower.text == exchange.text
            assert [frame.data["status"] for frame in follower.endings] == [expected[0]]

    def test_no_session_keeps_what_one_transaction_set(self):
        self.browser.send("Hello").rest()
        with psycopg.connect(self.bouncer.url, autocommit=True) as session:
            found = {session.execute("SHOW lock_timeout").fetchone() for _ in range(20)}

        assert found == {("0",)}

    def test_it_goes_away_and_comes_back(self):
        gate = Gate()
        with held(gate):
            exchange = self.open_half("pgbouncer away", gate)
            self.bouncer.stop()
            reading = Reading(exchange)
            gate.open()
            wait_until(lambda: "The database is away;" in self.server.log)
            refused = self.browser.send("Meanwhile").status
            told = list(exchange.endings)
            self.bouncer.start()
            reading.join()

        assert (told, refused) == ([], 503)
        self.check("pgbouncer away at the ending", exchange)

    def test_the_server_behind_it_is_restarted(self):
        gate = Gate()
        with held(gate):
            exchange = self.open_half("Restarted behind pgbouncer", gate)
            connection.close()
            self.postgres.restart()
            gate.open()
            exchange.rest()

        message = self.ended(exchange)

        assert outcome(message) == ("completed", "stop", "")
        self.check("restarted behind pgbouncer", exchange)


class Writers:
    """Threads that write while something else reads: new conversations, and new versions of the rows that are read.

    commits: transactions so far, at least.
    """

    def __init__(self, count: int = 3) -> None:
        self.commits = 0
        self._count = count
        self._has_to_end = threading.Event()
        self._others = list(Conversation.objects.order_by("pk").values_list("pk", flat=True))

    def __enter__(self) -> Self:
        self._pool = ThreadPoolExecutor(self._count)
        self._running = [self._pool.submit(self._run, number) for number in range(self._count)]
        self.until_commits(5)
        return self

    def __exit__(self, *args: object) -> None:
        self._has_to_end.set()
        self._pool.shutdown()
        for one in self._running:
            one.result()

    def until_commits(self, more: int) -> None:
        """Wait for so many more."""
        upto = self.commits + more
        wait_until(lambda: self.commits >= upto or any(one.done() for one in self._running))

    def _run(self, number: int) -> None:
        try:
            while not self._has_to_end.is_set():
                self._write(number)
        finally:
            connection.close()

    def _write(self, number: int) -> None:
        # Each thread has rows of its own, so that none waits for another.
        chosen = self._others[number :: self._count][self.commits % 100 :: 100]
        with transaction.atomic():
            make_reply(make_conversation(title="Meanwhile"), "Meanwhile. " * 50)
            # No columns of an export; the rows get other places in the table, and in its indexes.
            Conversation.objects.filter(pk__in=chosen).update(needs_attention=bool(self.commits % 2))
            Message.objects.filter(conversation__in=chosen).update(body_digest=str(self.commits))
        self.commits += 1


def _reply_to(asked: Message) -> Message:
    text = f"{asked.conversation.title}. " + "wörd " * 800
    parts = [{"kind": "text", "text": text}]
    return Message(
        conversation=asked.conversation,
        parent=asked,
        role="assistant",
        position=1 + len(text),
        text=text,
        parts=parts,
    )


class ExportTests(PgBouncerCase):
    """An export is many transactions, each in any of two sessions, with those of others in between."""

    CONVERSATIONS = 20 * rows.CONVERSATIONS + 7
    LIST = "/admin/streaming_chat/conversation/"
    sessions = 2
    options = {"log_statement": "all", "log_line_prefix": "%p [%a] "}

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name, "out")
        self.fill()
        self.until = timezone.now().isoformat()
        # The command's files have what reviewers recorded; the download of a user who is no reviewer has not.
        self.whole = {form: self.written(form, has_reviews=True) for form in transcripts.FORMATS}

    def fill(self):
        """Make conversations of 8 KB each: those of some pages are more than a state of an export is saved after."""
        owner = make_user()
        key = user_key(owner)
        made = [
            Conversation(id=uuid7(), owner=owner, owner_key=key, title=f"Chat {number}", last_status="completed")
            for number in range(self.CONVERSATIONS)
        ]
        asked = [Message(conversation=one, role="user", text=f"Of {one.title}?") for one in made]
        replies = [_reply_to(message) for message in asked]
        Conversation.objects.bulk_create(made)
        Message.objects.bulk_create(asked)
        Message.objects.bulk_create(replies, batch_size=500)
        Feedback.objects.bulk_create(
            Feedback(message=reply, value=-1, comment=reply.conversation.title, by=owner, owner_key=key)
            for reply in replies[::7]
        )

    def written(self, form, *, has_reviews):
        pieces = transcripts.export(Conversation.objects.all(), transcripts.FORMATS[form](has_reviews=has_reviews))
        return b"".join(piece.data for piece in pieces)

    def start(self, form):
        """Begin the command in a process of its own."""
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "DATABASE_URL": self.bouncer.url,
            "PGAPPNAME": "export",
        }
        arguments = [f"--format={form}", f"--until={self.until}", f"--output={self.path}"]
        command = [sys.executable, "-m", "django", "exporttranscripts", *arguments]
        return subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent.parent,
        )

    def statements(self, by, mark):
        """Return what the server was told by one program since the log had so many bytes, as (session, statement)."""
        text = self.log.read_bytes()[mark:].decode()
        return re.findall(rf"^(\d+) \[{by}\] LOG:  (?:statement|execute \S+): (.*)$", text, re.MULTILINE)

    def mark(self):
        return self.log.stat().st_size

    def test_the_command_is_exact_while_others_write(self):
        for form in transcripts.FORMATS:
            with self.subTest(form), Writers() as writers:
                mark, before = self.mark(), writers.commits
                process = self.start(form)
                told = process.communicate(timeout=60)

                assert process.returncode == 0, told
                # Without pytest's comparison, which would take minutes for texts of this length.
                assert (self.path.read_bytes() == self.whole[form]) is True
                assert f"{self.CONVERSATIONS} of {self.CONVERSATIONS} conversations" in told[1]
                self.path.unlink()
                self.check_sessions(self.statements("export", mark), writers.commits - before)

    def check_sessions(self, statements, commits):
        """Pages were read in between what others wrote, in both sessions, by no cursor and in no transaction."""
        pages = [
            session for session, statement in statements if statement.startswith("SELECT") and "parts" in statement
        ]

        assert len(pages) > 20
        assert len(set(pages)) == self.sessions
        assert commits > 20
        assert [text for _session, text in statements if re.match("DECLARE|FETCH|BEGIN|PREPARE", text)] == []

    def test_a_killed_command_goes_on_where_it_was_while_others_write(self):
        with Writers() as writers:
            process = self.start("jsonl")
            wait_until(self.has_saved_a_state)
            process.send_signal(signal.SIGKILL)
            process.communicate()

            assert process.returncode == -signal.SIGKILL
            assert not self.path.exists()
            begun = json.loads(Path(f"{self.path}.state").read_text())
            writers.until_commits(20)
            again = self.start("jsonl")
            told = again.communicate(timeout=60)

        assert again.returncode == 0, told
        assert 0 < begun["conversations"] < self.CONVERSATIONS
        assert (self.path.read_bytes() == self.whole["jsonl"]) is True
        assert [path.name for path in self.path.parent.iterdir()] == ["out"]

    def has_saved_a_state(self):
        try:
            return json.loads(Path(f"{self.path}.state").read_text())["through"]
        except FileNotFoundError:
            return None

    def test_the_download_of_the_admin_is_exact_while_others_write(self):
        staff = make_staff("staff", "view_conversation", "view_transcript", "export_transcript")
        browser = Browser(self.server.port, staff)
        self.addCleanup(browser.close)
        whole = self.written("jsonl", has_reviews=False)
        with Writers() as writers:
            mark = self.mark()
            exchange = browser.post(f"{self.LIST}export/jsonl/")

            assert exchange.status == 200
            begun = exchange.body(writes=2)
            writers.until_commits(20)
            data = exchange.body()

        # Those that began meanwhile are the newest, so that they follow.
        others = [json.loads(line) for line in data.removeprefix(whole).splitlines()]

        assert len(begun) < len(whole) / 2
        assert data.startswith(whole)
        assert {tuple(message["text"] for message in one["messages"]) for one in others} <= {
            ("Will it rain?", "Meanwhile. " * 50)
        }
        assert [text for _session, text in self.statements("[^]]*", mark) if "DECLARE" in text] == []
