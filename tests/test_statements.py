"""How many statements a request takes, and which: on both databases, in the request's thread and in the writer's.

benchmarks/request.py says what each costs. A list that has to grow here makes every such request dearer.
"""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection
from django.db.backends.signals import connection_created
from django.test import TransactionTestCase

from streaming_chat.models import Message
from streaming_chat.testing import Gate, Script, leave_stream, read_stream, scripted_provider, wait_until_saved

from .factories import make_conversation, make_reply, make_user
from .native import Api

# Every API request has a session and a user.
SIGNED_IN = ["SELECT django_session", "SELECT auth_user"]
# SQLite undoes a statement that fails by itself.
IS_SQLITE = connection.vendor == "sqlite"
INDEXED = ["INSERT searchentry"] if IS_SQLITE else ["SAVEPOINT", "INSERT searchentry", "RELEASE"]
# A message as the API shows it: where it stands among its siblings, and its owner's feedback.
SHOWN = ["SELECT message", "SELECT feedback"]
ENDING = [
    "BEGIN",
    "UPDATE conversation",
    "DELETE livereply",
    "UPDATE message",
    *INDEXED,
]


def outline(sql: str) -> str:
    """Return the verb of a statement and its table. SET LOCAL lock_timeout begins a transaction on PostgreSQL."""
    verb = sql.split(maxsplit=1)[0]
    if verb in ("BEGIN", "SET"):
        return "BEGIN"
    # What is read beside the columns of a row is no statement of its own.
    without_exists = re.sub(r"EXISTS\(.*? LIMIT 1\)", "", sql)
    table = re.search(r'(?:FROM|INTO|UPDATE) "?(?:streaming_chat_)?(\w+)', without_exists)
    return f"{verb} {table[1]}" if table else verb


def check(statements: list[str], *expected: str) -> None:
    """Compare the outlines of statements; a failure prints the statements."""
    assert [outline(sql) for sql in statements] == list(expected), "\n".join(statements)


class Statements:
    """The statements of all threads, by the name of the thread. The test's own is that of the requests."""

    def __init__(self) -> None:
        self._own = threading.current_thread().name
        self.by_thread: dict[str, list[str]] = {}

    @property
    def of_request(self) -> list[str]:
        return self.by_thread[self._own]

    @property
    def of_last_flush(self) -> list[str]:
        """Those of the writer's last transaction.

        Without the one that deletes the rows of events, which a slow machine may save in a transaction before.
        """
        of_writer = self.by_thread["streaming_chat.writer"]
        last = max(number for number, sql in enumerate(of_writer) if outline(sql) == "BEGIN")
        # Now and then, the writer also looks for replies whose lease has expired.
        ignored = ('"expires_at" <', 'DELETE FROM "streaming_chat_replyevent"')
        return [sql for sql in of_writer[last:] if not any(part in sql for part in ignored)]

    def note(self, execute: Callable[..., Any], sql: str, *arguments: Any) -> Any:
        """See `connection.execute_wrapper`."""
        self.by_thread.setdefault(threading.current_thread().name, []).append(sql)
        return execute(sql, *arguments)


@contextmanager
def watched_statements() -> Iterator[Statements]:
    """Watch the connection of this thread, and those that other threads open meanwhile."""
    statements = Statements()
    wrapped = [connection]

    def watch(sender: Any, connection: Any, **kwargs: Any) -> None:
        if statements.note not in connection.execute_wrappers:
            # Not last: a block of `connection.execute_wrapper` takes away the last.
            connection.execute_wrappers.insert(0, statements.note)
            wrapped.append(connection)

    connection.execute_wrappers.append(statements.note)
    connection_created.connect(watch)
    try:
        yield statements
    finally:
        connection_created.disconnect(watch)
        for each in wrapped:
            each.execute_wrappers.remove(statements.note)


@scripted_provider()
class StatementsCase(TransactionTestCase):
    def setUp(self) -> None:
        self.api = Api(make_user())
        self.statements = self.enterContext(watched_statements())
        self.addCleanup(wait_until_saved)

    def watch(self, request: Callable[..., Any], *arguments: Any) -> Statements:
        """Return the statements of a request, whose response is read to its end and whose reply is saved."""
        self.statements.by_thread.clear()
        response = request(*arguments)

        assert response.status_code == 200, response

        if response.streaming:
            read_stream(response)
        wait_until_saved()
        return self.statements


class SendTests(StatementsCase):
    def send(self, path: str, body: dict[str, Any]) -> Statements:
        statements = self.watch(self.api.post, path, body)

        check(statements.of_last_flush, *ENDING)

        return statements

    def test_a_message_in_a_new_conversation(self):
        statements = self.send("api/messages", {"content": "Hi"})

        check(
            statements.of_request,
            *SIGNED_IN,
            "SELECT blockedowner",
            "BEGIN",
            "INSERT conversation",
            "INSERT message",
            *INDEXED,
            "INSERT livereply",
        )

    def test_a_stateless_chat(self):
        statements = self.send("api/chat", {"messages": [{"role": "user", "content": "Hi"}]})

        check(
            statements.of_request,
            *SIGNED_IN,
            "SELECT blockedowner",
            "BEGIN",
            "INSERT conversation",
            "INSERT message",
            *INDEXED,
            "INSERT livereply",
        )

    def test_a_message_in_a_conversation(self):
        """As many for 24 messages as for two."""
        conversation = make_reply(make_conversation()).conversation
        for _length in (2, 24):
            statements = self.send(f"api/conversations/{conversation.pk}/messages", {"content": "Hi"})

            check(
                statements.of_request,
                *SIGNED_IN,
                "SELECT conversation",
                "SELECT message",
                "BEGIN",
                "UPDATE conversation",
                "INSERT message",
                *INDEXED,
                "INSERT livereply",
            )
            conversation.refresh_from_db()
            for _turn in range(10):
                make_reply(conversation)

    def test_a_message_with_a_client_id(self):
        """It is looked for before anything is written."""
        statements = self.send("api/messages", {"content": "Hi", "client_id": "one"})

        check(
            statements.of_request,
            *SIGNED_IN,
            "SELECT message",
            "SELECT blockedowner",
            "BEGIN",
            "INSERT conversation",
            "INSERT message",
            *INDEXED,
            "INSERT livereply",
        )


class LiveTests(StatementsCase):
    def setUp(self) -> None:
        super().setUp()
        self.gate = Gate()
        self.provider.script(Script(gates={1: self.gate}))
        self.response = self.api.post("api/messages", {"content": "Hi"})
        self.gate.wait_reached()
        self.reply = Message.objects.get(status="streaming")
        self.addCleanup(self.gate.open)
        self.addCleanup(leave_stream, self.response)

    def test_a_resume_in_the_process_that_writes_the_reply(self):
        self.statements.by_thread.clear()
        leave_stream(self.api.get(f"api/messages/{self.reply.pk}/events"))

        check(self.statements.of_request, *SIGNED_IN, "SELECT message")

    def test_a_stop(self):
        """The message is read before it, and again for the answer; the writer saves the ending meanwhile."""
        statements = self.watch(self.api.post, f"api/messages/{self.reply.pk}/stop")

        check(statements.of_request, *SIGNED_IN, "SELECT message", "SELECT message", *SHOWN)
        check(statements.of_last_flush, *ENDING)


class ReadingTests(StatementsCase):
    def setUp(self) -> None:
        super().setUp()
        self.reply = make_reply(make_conversation())

    def read(self, path: str) -> list[str]:
        statements = self.watch(self.api.get, path)

        assert list(statements.by_thread.values()) == [statements.of_request]

        return statements.of_request

    def test_a_resume_of_a_finished_reply(self):
        check(self.read(f"api/messages/{self.reply.pk}/events"), *SIGNED_IN, "SELECT message")

    def test_a_page_of_the_conversations(self):
        check(self.read("api/conversations"), *SIGNED_IN, "SELECT conversation")

    def test_a_conversation_with_its_branch(self):
        path = f"api/conversations/{self.reply.conversation_id}"

        check(self.read(path), *SIGNED_IN, "SELECT conversation", "SELECT message", *SHOWN)

    def test_all_messages_of_a_conversation(self):
        path = f"api/conversations/{self.reply.conversation_id}/messages"

        # Their sizes come first: a page is limited in size.
        check(self.read(path), *SIGNED_IN, "SELECT conversation", "SELECT message", "SELECT message", *SHOWN)

    def test_one_message(self):
        check(self.read(f"api/messages/{self.reply.pk}"), *SIGNED_IN, "SELECT message", *SHOWN)
