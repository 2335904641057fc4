"""Replies that this process writes and others follow, as Redis streams. Used in one event loop.

The ids of a stream's entries are positions: Redis takes each once, in order, so what may have been lost is sent again.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import Any

from streaming_chat.protocol.events import Event, length

from .commands import ANEW, BYTES, MORE, REPLIES, Command, Names, run
from .entries import Seal, cut
from .trouble import Trouble

# How long the stream of a reply stays after its ending: for followers who come just then.
_LINGER_SECONDS = 10
# Between tries to carry a reply whose entries are refused.
_REFUSED_SECONDS = 1.0


class Feed:
    """A reply, and how much of it was carried."""

    __slots__ = (
        "_index",
        "_position",
        "entries",
        "events",
        "is_last",
        "is_made",
        "message_id",
        "renewed",
        "rests_until",
    )

    def __init__(self, message_id: uuid.UUID, events: Sequence[Event]) -> None:
        self.message_id = message_id
        self.events = events
        # The start is not carried.
        self._index = self._position = 1
        # Not acknowledged: sent again as they are.
        self.entries: list[tuple[int, bytes]] = []
        self.is_made = self.is_last = False
        self.renewed = self.rests_until = 0.0

    @property
    def has_more(self) -> bool:
        """Whether something waits to be carried."""
        return bool(self.entries) or len(self.events) > self._index

    def fill(self, seal: Seal) -> int:
        """Make entries of what is new, unless some wait; return how many bytes wait."""
        upto = len(self.events)
        if not self.entries and upto > self._index:
            new = self.events[self._index : upto]
            sealed = ((at, seal.close(self.message_id, at, group)) for at, group in cut(new, self._position))
            self.entries = [(at, entry) for at, entry in sealed if entry]
            self._index, self._position = upto, self._position + length(new)
        return sum(len(entry) for _at, entry in self.entries)


class Feeds:
    """All that are fed, and how they are carried.

    max_entries: kept of each, about. expire_seconds: longest that a stream stays after it was last added to.
    """

    def __init__(self, names: Names, seal: Seal, max_entries: int, expire_seconds: float) -> None:
        self._names, self._seal = names, seal
        self._max_entries, self._expire_seconds = max_entries, expire_seconds
        self._feeds: dict[uuid.UUID, Feed] = {}
        self._refusal = Trouble("Redis refuses what is to be carried of replies (%s).", "Redis takes replies again.")

    def __len__(self) -> int:
        return len(self._feeds)

    def add(self, message_id: uuid.UUID, events: Sequence[Event]) -> None:
        """Carry a reply from now on."""
        self._feeds.setdefault(message_id, Feed(message_id, events)).is_last = False

    def remove(self, message_id: uuid.UUID) -> None:
        """Carry what it has, then no more."""
        if (feed := self._feeds.get(message_id)) is not None:
            feed.is_last = True

    def give_up(self) -> None:
        """Forget those that have ended: Redis is away, and they would be kept in memory for it."""
        self._feeds = {pk: feed for pk, feed in self._feeds.items() if not feed.is_last}

    async def carry(self, client: Any) -> None:
        """Carry what is new of all, in as few round trips as their sizes allow."""
        now = time.monotonic()
        batch: list[Feed] = []
        size = 0
        for feed in [feed for feed in self._feeds.values() if feed.has_more and feed.rests_until <= now]:
            batch.append(feed)
            size += feed.fill(self._seal)
            if size > BYTES or len(batch) >= REPLIES:
                await self._send(client, batch)
                batch, size = [], 0
        await self._send(client, batch)
        await self._finish(client)

    async def _send(self, client: Any, feeds: Sequence[Feed]) -> None:
        for is_made in (True, False):
            some = [feed for feed in feeds if feed.entries and feed.is_made is is_made]
            if some:
                await self._append(client, some, is_made=is_made)

    async def _append(self, client: Any, feeds: Sequence[Feed], *, is_made: bool) -> None:
        now = time.monotonic()
        early = now - self._expire_seconds / 4
        commands = [self._commands(feed, renew=not is_made or feed.renewed < early) for feed in feeds]
        # A stream is made and limited in time at once: none may stay because this process ends in between.
        answers = iter(await run(client, [each for own in commands for each in own], transaction=not is_made))
        for feed, own in zip(feeds, commands, strict=True):
            told = [(command[0], next(answers)) for command in own]
            if any(name == "PEXPIRE" for name, _answer in told):
                feed.renewed = now
            self._note(feed, [answer for name, answer in told if name == "XADD"])

    def _commands(self, feed: Feed, *, renew: bool) -> list[Command]:
        key = self._names.stream(feed.message_id)
        limit = ("MAXLEN", "~", self._max_entries)
        make = ("NOMKSTREAM",) if feed.is_made else ()
        commands: list[Command] = [] if feed.is_made else [("DEL", key)]
        commands += [("XADD", key, *make, *limit, f"{at}-0", "e", entry) for at, entry in feed.entries]
        if renew:
            commands.append(("PEXPIRE", key, round(1000 * self._expire_seconds)))
        commands.append(("PUBLISH", self._names.signal(feed.message_id), MORE if feed.is_made else ANEW))
        return commands

    def _note(self, feed: Feed, answers: Sequence[Any]) -> None:
        """Note what Redis said of a reply's entries."""
        errors = [answer for answer in answers if isinstance(answer, Exception) and not _is_known(answer)]
        if errors:
            self._refusal.begin(type(errors[0]).__name__)
            feed.rests_until = time.monotonic() + _REFUSED_SECONDS
        elif None in answers:
            # Somebody emptied Redis, or it began anew: so does the stream, at the next tick.
            feed.is_made = False
        else:
            self._refusal.end()
            feed.is_made = True
            feed.entries = []

    async def _finish(self, client: Any) -> None:
        """Leave the replies that have ended, once everything of them is carried, or refused."""
        now = time.monotonic()
        done = [feed for feed in self._feeds.values() if feed.is_last and (not feed.has_more or feed.rests_until > now)]
        if not done:
            return
        milliseconds = round(1000 * min(_LINGER_SECONDS, self._expire_seconds))
        await run(client, [("PEXPIRE", self._names.stream(feed.message_id), milliseconds) for feed in done])
        for feed in done:
            # It may have been fed again meanwhile.
            if feed.is_last:
                self._feeds.pop(feed.message_id, None)


def _is_known(error: Exception) -> bool:
    """Whether Redis had this entry, or later ones, already: the answer to the first attempt was lost."""
    return "equal or smaller" in str(error)
