"""Runs whose events a test says, and commits that fail as a broken connection makes them fail."""

import threading
import uuid
from collections.abc import Sequence
from typing import Any
from unittest import mock

from django.db import OperationalError, connection

from streaming_chat.engine.progress import Progress
from streaming_chat.engine.saver import Saver, SaveResult
from streaming_chat.models import LiveReply, Message, ReplyEvent
from streaming_chat.protocol import endings, events
from streaming_chat.protocol.endings import Ending
from streaming_chat.protocol.events import TEXT, TOOL_CALL, Event
from tests.factories import make_conversation, make_live

COMPLETED = Ending(endings.COMPLETED, "stop")
# JSON that neither database takes: no provider can send it through our parsing, but a site's own provider may.
POISON = Event(TOOL_CALL, {"id": "1", "name": "f", "arguments": float("nan"), "complete": True})


class Received:
    """A run as the writer sees it. sent: the endings its readers were sent."""

    def __init__(self, worker: str, *texts: str) -> None:
        live = make_live(make_conversation(), worker=worker)
        self.message_id: uuid.UUID = live.message_id
        self.conversation_id: uuid.UUID = live.conversation_id
        self.outcome: Ending | None = None
        self.is_unfollowed = self.is_orphaned = False
        self.ended = threading.Event()
        self.events = [Event("start", {})]
        self.own_index = self.own_position = 1
        self.fields: dict = {}
        self.provider_states: dict[int, str] = {}
        self.calls = None
        self.is_waiting = False
        # What asking for its columns raises, in place of the database: the last first.
        self.raises: list[Exception] = []
        self.stops: list = []
        self.sent: list = []
        self.is_dismissed = False
        self.progress = Progress(self)
        self.receive(*texts)

    def receive(self, *texts: str) -> None:
        self.events += [Event(TEXT, text) for text in texts]

    def columns(self) -> dict:
        if self.raises:
            raise self.raises.pop()
        return self.fields

    def request_stop(self, by: str, position: int | None) -> None:
        self.stops.append((by, position))

    def end_unsaved(self) -> None:
        self.outcome = endings.broken("not_saved", received=len(self.events) > 1)

    def dismiss(self) -> None:
        self.is_dismissed = True

    def mark_saved(self, payload: dict, end_position: int) -> None:
        self.sent.append((payload["status"], end_position))
        self.ended.set()

    @property
    def is_urgent(self) -> bool:
        return self.outcome is not None or self.is_unfollowed

    @property
    def position(self) -> int:
        return events.length(self.events)

    @property
    def weight(self) -> int:
        return events.weight(self.events[self.own_index :])

    @property
    def live(self) -> LiveReply:
        return LiveReply.objects.get(pk=self.message_id)

    @property
    def rows(self) -> list[Event]:
        return ReplyEvent.objects.stream(self.message_id)

    @property
    def message(self) -> Message:
        return Message.objects.get(pk=self.message_id)


def make_runs(count: int) -> list[Received]:
    return [Received("me", f"text of {number}") for number in range(count)]


def save(runs: Sequence[Received], **options: Any) -> SaveResult:
    """Save what these runs have, as their worker "me" does."""
    return Saver("me").save([run.progress for run in runs], **options)


def ended(runs: Sequence[Received]) -> list[Received]:
    """Save these; return those whose ending is saved."""
    done = save(runs).ended
    return [run for run in runs if run.progress in done]


def error_of(cause: type[Exception]) -> OperationalError:
    """Return Django's error for one of PostgreSQL's."""
    error = OperationalError()
    error.__cause__ = cause()
    return error


def answer_lost(happens: bool = True) -> Any:
    """Make the connection break at the next commits, once they have happened or before."""
    commit = connection._commit

    def broken() -> None:
        if happens:
            commit()
        raise OperationalError("server closed the connection unexpectedly")

    return mock.patch.object(connection, "_commit", broken)


def answer_lost_once(error: Exception | None = None) -> Any:
    """Make the next commit fail, as a connection that breaks before it happens; the one after it works."""
    error = error or OperationalError("server closed the connection unexpectedly")
    commit, commits = connection._commit, []

    def broken_first() -> None:
        commits.append(1)
        if len(commits) == 1:
            raise error
        commit()

    return mock.patch.object(connection, "_commit", broken_first)


def during_commit(act: Any) -> Any:
    """Do this while the next commits are in flight."""
    commit = connection._commit

    def committing() -> None:
        act()
        commit()

    return mock.patch.object(connection, "_commit", committing)
