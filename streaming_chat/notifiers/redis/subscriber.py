"""Replies that others write and this process follows, as Redis streams. Used in one event loop.

What is said on a reply's channel only marks it; the mark is cleared before the stream is read, so nothing that is added
meanwhile is missed.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from streaming_chat.logs import describe, logger
from streaming_chat.notifiers.base import Follower

from .commands import ANEW, LOOK, REPLIES, Names, run
from .entries import Seal

# Of each reply in one round trip.
_ENTRIES = 20


class Followed:
    """All that are followed, what is marked of them, and who is told."""

    def __init__(self, names: Names, seal: Seal) -> None:
        self._names, self._seal = names, seal
        self._followers: dict[uuid.UUID, Follower] = {}
        # Position of the last entry that was read.
        self._last: dict[uuid.UUID, int] = {}
        self._channels: dict[bytes, uuid.UUID] = {}
        self._unread: set[uuid.UUID] = set()
        self._news: set[uuid.UUID] = set()
        self._has_seen_strange = False

    def __len__(self) -> int:
        return len(self._followers)

    @property
    def channels(self) -> Iterable[bytes]:
        """Where there is to be listened."""
        return self._channels

    @property
    def has_unread(self) -> bool:
        """Whether streams are to be read."""
        return bool(self._unread)

    def add(self, message_id: uuid.UUID, follower: Follower) -> None:
        """Follow a reply, from the oldest entry there is."""
        self._followers[message_id] = follower
        self._last[message_id] = 0
        self._channels[self._names.signal(message_id)] = message_id
        self._unread.add(message_id)

    def remove(self, message_id: uuid.UUID) -> None:
        """Follow it no more."""
        self._followers.pop(message_id, None)
        self._last.pop(message_id, None)
        self._channels.pop(self._names.signal(message_id), None)
        self._unread.discard(message_id)
        self._news.discard(message_id)

    def mark(self) -> None:
        """Take it that there is more of all: nothing was heard for a while."""
        self._unread.update(self._followers)
        self._news.update(self._followers)

    def hear(self, kind: str, channel: bytes, word: object) -> None:
        """Mark what a channel speaks of."""
        message_id = self._channels.get(channel)
        if message_id is None:
            return
        if kind == "subscribe":
            # What was said until now was not heard.
            self._unread.add(message_id)
            self._news.add(message_id)
        elif word == LOOK:
            self._news.add(message_id)
        else:
            if word == ANEW:
                self._last[message_id] = 0
            self._unread.add(message_id)

    def report(self) -> None:
        """Tell the followers of which the database has more, once however often it was said."""
        by_follower: dict[Follower, list[uuid.UUID]] = defaultdict(list)
        for message_id in self._news:
            by_follower[self._followers[message_id]].append(message_id)
        self._news.clear()
        for follower, message_ids in by_follower.items():
            hand_over(follower.news, message_ids)

    async def read(self, client: Any) -> None:
        """Report some entries of some replies that have more; what is left stays marked."""
        batch = {pk: self._last[pk] for pk in list(self._unread)[:REPLIES]}
        self._unread.difference_update(batch)
        if not batch:
            return
        commands = [
            ("XRANGE", self._names.stream(pk), f"{last}-1", "+", "COUNT", _ENTRIES) for pk, last in batch.items()
        ]
        for pk, answer in zip(batch, await run(client, commands), strict=True):
            # An error is an answer, too: of a key of another type, say.
            if isinstance(answer, list):
                self._take(pk, batch[pk], answer)

    def _take(self, message_id: uuid.UUID, after: int, entries: list[tuple[bytes, Any]]) -> None:
        for entry_id, fields in entries:
            if message_id not in self._followers:
                return
            position = int(entry_id.partition(b"-")[0])
            self._receive(message_id, position, fields)
            # Unless it began anew while it was read.
            if self._last[message_id] == after:
                self._last[message_id] = after = position
        if len(entries) == _ENTRIES:
            self._unread.add(message_id)

    def _receive(self, message_id: uuid.UUID, position: int, fields: Any) -> None:
        try:
            events = self._seal.open(message_id, position, fields[b"e"])
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            if not self._has_seen_strange:
                self._has_seen_strange = True
                logger.warning(
                    "Redis holds something that is not of this site (%s); it is ignored.", type(error).__name__
                )
            return
        hand_over(self._followers[message_id].received, message_id, position, events)


def hand_over(call: Callable[..., None], *arguments: object) -> None:
    """Call another module with what was heard; what it raises does not end the thread that is_connected."""
    try:
        call(*arguments)
    except Exception as error:  # noqa: BLE001  (what others do with the news is theirs)
        logger.error("News of replies could not be handed over: %s", describe(error))
