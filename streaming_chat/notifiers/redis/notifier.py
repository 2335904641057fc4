"""A tail through Redis 7 or newer, or Valkey: replies of other processes within some 15 ms.

Of each reply that is followed elsewhere the writing process keeps a stream, `<prefix>:{<message>}`, whose entries' ids are
positions, and says on a channel beside it when there is more. It is a fast path only: the database has everything.
Whatever Redis loses, refuses or delays shows as a gap or a silence, and costs latency and nothing else.

Redis holds the text of live replies, and of ended ones, for at most `expire_seconds`. What it holds is sealed with the
site's SECRET_KEY: who can write to it may delay replies, but put nothing into them.

All of it happens in one thread of the process, in an event loop of its own: neither requests nor replies wait for Redis.

Not supported: Redis Cluster (what belongs to one reply shares a hash tag, but no redirection is followed) and addresses of
Sentinels. Both count as away.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db import transaction

from streaming_chat.logs import describe, logger
from streaming_chat.notifiers.base import Follower, Notifier
from streaming_chat.protocol.events import Event

from .commands import LOOK, REPLIES, Names, run
from .entries import Seal
from .publisher import Feeds
from .subscriber import Followed, hand_over
from .trouble import Trouble

_SCHEMES = ("redis", "rediss", "unix")
# A probe goes out once a second and must be heard within another; silence of five ends the connection.
_PROBE_SECONDS = 1.0
_PATIENCE_SECONDS = 1.0
_DEAD_SECONDS = 5.0
_CONNECT_SECONDS = 2.0
_LONGEST_PAUSE_SECONDS = 2.0
# Without anything to do: then connections are closed.
_IDLE_SECONDS = 30.0
# Words that wait while Redis is away, and summonses until they are handed over; the database tells of the others.
_WAITING = 10_000


class RedisNotifier(Notifier):
    """Carries events, and says who finds more where.

    url: redis://, rediss:// or unix://, with the options of redis-py. prefix: of every key and channel; one a site.
    tick_seconds: between two looks at what was received. max_entries: kept of each reply, about; each has up to 4 096 code
    points. expire_seconds: longest that text stays in Redis after it was last added to.
    """

    def __init__(
        self,
        url: str,
        prefix: str = "streaming_chat",
        tick_seconds: float = 0.02,
        max_entries: int = 256,
        expire_seconds: float = 60.0,
    ) -> None:
        if urlsplit(url).scheme not in _SCHEMES:
            raise ValueError(f"url must begin with one of {_SCHEMES}, got {urlsplit(url).scheme!r}.")
        import_module("redis.asyncio")
        self._url, self._names = url, Names(prefix)
        self._make = partial(Link, url, prefix, tick_seconds, max_entries, expire_seconds)
        self._link: Link | None = None
        self._of_parents: list[Link] = []
        self.reset()

    @property
    def is_connected(self) -> bool:
        """Whether it has just heard itself through Redis."""
        return self._link is not None and self._link.is_connected

    def listen(self, worker: str, woken: Callable[[Iterable[uuid.UUID]], None], using: str) -> None:
        """Hear summonses of this worker."""
        self._post(Link.listen, worker, woken)

    def stop_listening(self) -> None:
        """Hear them no more."""
        self._post_if_open(Link.stop_listening)

    def notify_on_commit(self, using: str, message_ids: Sequence[uuid.UUID]) -> None:
        """Have followers look, once this is committed."""
        transaction.on_commit(partial(self._post, Link.notify_on_commit, tuple(message_ids)), using=using, robust=True)

    def publish(self, message_id: uuid.UUID, events: Sequence[Event]) -> None:
        """Carry this reply's events."""
        if message_id not in self._fed:
            self._fed.add(message_id)
            self._post(Link.publish, message_id, events)

    def stop_publishing(self, message_id: uuid.UUID) -> None:
        """Carry what it has, then no more."""
        if message_id in self._fed:
            self._fed.discard(message_id)
            self._post_if_open(Link.stop_publishing, message_id)

    def subscribe(self, message_id: uuid.UUID, follower: Follower, using: str) -> None:
        """Report what is carried of this reply, from the oldest entry there is."""
        self._post(Link.subscribe, message_id, follower)

    def unsubscribe(self, message_id: uuid.UUID) -> None:
        """Report no more of it."""
        self._post_if_open(Link.unsubscribe, message_id)

    def wake(self, using: str, worker: str, message_id: uuid.UUID) -> None:
        """Have a worker look at this reply."""
        self._post(Link.wake, worker, message_id)

    def forget(self, message_ids: Sequence[uuid.UUID]) -> None:
        """Delete their streams, on a connection of its own. Where Redis is away, they end by themselves."""
        redis: Any = import_module("redis")
        patience = {"socket_timeout": _PATIENCE_SECONDS, "socket_connect_timeout": _CONNECT_SECONDS}
        try:
            with redis.Redis.from_url(self._url, **patience) as client:
                for first in range(0, len(message_ids), REPLIES):
                    client.delete(*map(self._names.stream, message_ids[first : first + REPLIES]))
        except (OSError, redis.RedisError) as error:
            logger.error("Redis was not told to forget %d replies (%s).", len(message_ids), type(error).__name__)

    def reset(self) -> None:
        """Begin anew, in a child of a fork."""
        if self._link is not None:
            # Kept: were it collected, its sockets would be taken out of the epoll that the parent waits on.
            self._of_parents.append(self._link)
        self._lock = threading.Lock()
        self._link = None
        self._fed: set[uuid.UUID] = set()

    def close(self) -> None:
        """End the thread and its connections. Whatever is called next makes them anew."""
        link = self._link
        self._link = None
        self._fed = set()
        if link is not None:
            link.end()

    def _post(self, call: Callable[..., None], *arguments: object) -> None:
        try:
            link = self._link or self._open()
            link.loop.call_soon_threadsafe(call, link, *arguments)
        except RuntimeError:
            return  # The interpreter is ending: no thread can be made, or the loop is closed.

    def _post_if_open(self, call: Callable[..., None], *arguments: object) -> None:
        if self._link is not None:
            self._post(call, *arguments)

    def _open(self) -> Link:
        with self._lock:
            if self._link is None:
                link = self._make()
                link.start()
                self._link = link
            return self._link


class Link:
    """The thread and its two connections: commands and listening. Its loop runs all but `is_connected` and `end`."""

    def __init__(self, url: str, prefix: str, tick_seconds: float, max_entries: int, expire_seconds: float) -> None:
        self.loop = asyncio.new_event_loop()
        self._url = url
        self._tick_seconds = tick_seconds
        self._names = Names(prefix)
        seal = Seal([settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS])
        self._feeds = Feeds(self._names, seal, max_entries, expire_seconds)
        self._followed = Followed(self._names, seal)
        self._worker_channel = b""
        self._on_wake: Callable[[Iterable[uuid.UUID]], None] | None = None
        self._summonses: set[uuid.UUID] = set()
        # What waits to be said, and where there is to be listened from now on, or no more.
        self._words: set[tuple[bytes, bytes]] = set()
        self._new_channels: set[bytes] = set()
        self._old_channels: set[bytes] = set()
        self._next_tick = 0.0
        self._probe_channel = self._names.probe()
        self._probe_word = b""
        self._is_probe_due = False
        self._probe_heard = asyncio.Event()
        # Read in other threads.
        self._heard_at = float("-inf")
        self._last_heard_at = float("-inf")
        self._was_silent = False
        self._away = Trouble(
            "Redis cannot be reached (%s): replies of other processes are followed through the database.",
            "Redis is heard again.",
        )
        self._needed = asyncio.Event()
        self._wake = asyncio.Event()
        self._ending = asyncio.Event()
        self._thread = threading.Thread(target=self._work, name="streaming_chat.tail", daemon=True)

    @property
    def is_connected(self) -> bool:
        """Whether the last probe was heard in time. In any thread."""
        return time.monotonic() - self._heard_at < _PROBE_SECONDS + _PATIENCE_SECONDS

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def end(self) -> None:
        """End the thread, and wait for it. In another thread."""
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._ending.set)
        self._thread.join(_CONNECT_SECONDS + 2 * _PATIENCE_SECONDS)

    # What the tail's methods do.

    def listen(self, worker: str, woken: Callable[[Iterable[uuid.UUID]], None]) -> None:
        channel = self._names.worker(worker)
        if channel != self._worker_channel:
            self.stop_listening()
            self._subscribe(channel)
        self._worker_channel, self._on_wake = channel, woken

    def stop_listening(self) -> None:
        if self._worker_channel:
            self._unsubscribe(self._worker_channel)
        self._worker_channel, self._on_wake = b"", None

    def notify_on_commit(self, message_ids: Iterable[uuid.UUID]) -> None:
        self._say(*((self._names.signal(pk), LOOK) for pk in message_ids))

    def wake(self, worker: str, message_id: uuid.UUID) -> None:
        self._say((self._names.worker(worker), message_id.hex.encode()))

    def publish(self, message_id: uuid.UUID, events: Sequence[Event]) -> None:
        self._feeds.add(message_id, events)
        self._need()

    def stop_publishing(self, message_id: uuid.UUID) -> None:
        self._feeds.remove(message_id)
        if not self.is_connected:
            self._feeds.give_up()
        self._wake.set()

    def subscribe(self, message_id: uuid.UUID, follower: Follower) -> None:
        channel = self._names.signal(message_id)
        if channel not in self._followed.channels:
            self._subscribe(channel)
        self._followed.add(message_id, follower)
        self._need()

    def unsubscribe(self, message_id: uuid.UUID) -> None:
        self._followed.remove(message_id)
        self._unsubscribe(self._names.signal(message_id))

    def _need(self) -> None:
        self._needed.set()
        self._wake.set()

    def _say(self, *words: tuple[bytes, bytes]) -> None:
        if len(self._words) < _WAITING:
            self._words.update(words)
        self._need()

    def _subscribe(self, channel: bytes) -> None:
        self._old_channels.discard(channel)
        self._new_channels.add(channel)
        self._need()

    def _unsubscribe(self, channel: bytes) -> None:
        self._new_channels.discard(channel)
        self._old_channels.add(channel)
        self._wake.set()

    @property
    def _is_busy(self) -> bool:
        return bool(self._feeds or self._followed or self._worker_channel or self._words)

    # The connections' life.

    def _work(self) -> None:
        with contextlib.closing(self.loop):
            self.loop.run_until_complete(self._live())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())

    async def _live(self) -> None:
        living = asyncio.create_task(self._connect_again_and_again())
        await self._ending.wait()
        living.cancel()
        await asyncio.wait([living])

    async def _connect_again_and_again(self) -> None:
        pause = 0.0
        while True:
            await self._needed.wait()
            began = time.monotonic()
            try:
                await self._converse()
            except Exception as error:  # noqa: BLE001  (a thread that died would never come back to Redis)
                self._lose(error)
            lasted = max(self._last_heard_at, began) - began
            self._heard_at = float("-inf")
            pause = 0.1 if lasted > _DEAD_SECONDS else min(max(2 * pause, 0.1), _LONGEST_PAUSE_SECONDS)
            # Many processes lose a server at once: they do not return to it at once.
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311  (no secret)

    async def _converse(self) -> None:
        """Hold both connections until one fails, or nothing is left to do."""
        pool = self._pool()
        client = import_module("redis.asyncio").Redis(connection_pool=pool)
        ears = client.pubsub()
        tasks: list[asyncio.Task[None]] = []
        try:
            async with asyncio.timeout(_DEAD_SECONDS):
                await self._begin_to_listen(ears)
            tasks = [
                asyncio.create_task(each) for each in (self._listen(ears), self._talk(client, ears), self._probe())
            ]
            done, _pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await _close(tasks, ears, pool)

    def _pool(self) -> Any:
        from redis.asyncio.connection import ConnectionPool, parse_url
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        patience: dict[str, Any] = {"socket_timeout": _DEAD_SECONDS, "socket_connect_timeout": _CONNECT_SECONDS}
        ours = {"decode_responses": False, "protocol": 2, "retry": Retry(NoBackoff(), 0), "health_check_interval": 0}
        return ConnectionPool(**{**patience, **parse_url(self._url), **ours})

    async def _begin_to_listen(self, ears: Any) -> None:
        channels = {self._probe_channel, self._worker_channel, *self._followed.channels} - {b""}
        self._new_channels.clear()
        self._old_channels.clear()
        await ears.subscribe(*channels)

    async def _listen(self, ears: Any) -> None:
        """Note what is said; what follows from it is done by _talk."""
        while True:
            message = await ears.get_message(timeout=None)
            if message is not None:
                self._hear(message["type"], message["channel"], message["data"])
                self._wake.set()

    def _hear(self, kind: str, channel: bytes, word: Any) -> None:
        if channel == self._probe_channel:
            if word == self._probe_word:
                self._hear_probe()
        elif channel == self._worker_channel:
            if kind == "message" and len(self._summonses) < _WAITING:
                with contextlib.suppress(ValueError):
                    self._summonses.add(uuid.UUID(word.decode("ascii")))
        else:
            self._followed.hear(kind, channel, word)

    async def _probe(self) -> None:
        """Speak to itself through Redis; return when nothing is left to do. Raises TimeoutError when it is dead."""
        heard_at = busy_at = time.monotonic()
        while True:
            began = time.monotonic()
            self._probe_word = uuid.uuid4().hex.encode()
            self._probe_heard.clear()
            self._is_probe_due = True
            self._wake.set()
            try:
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    await self._probe_heard.wait()
                heard_at = time.monotonic()
            except TimeoutError as error:
                self._was_silent = True
                self._lose(error)
                if time.monotonic() - heard_at > _DEAD_SECONDS:
                    raise
            await asyncio.sleep(began + _PROBE_SECONDS - time.monotonic())
            if self._is_busy:
                busy_at = time.monotonic()
            elif time.monotonic() - busy_at > _IDLE_SECONDS:
                self._needed.clear()
                return

    def _hear_probe(self) -> None:
        if self._was_silent:
            # The connection stood, but what it will still bring is late.
            self._followed.mark()
            self._was_silent = False
        self._heard_at = self._last_heard_at = time.monotonic()
        self._probe_heard.set()
        self._away.end()

    def _lose(self, error: BaseException) -> None:
        """Redis is away, for now: have the database looked at, and keep nothing for it that grows."""
        self._heard_at = float("-inf")
        self._feeds.give_up()
        if self._away.begin(type(error).__name__):
            if not isinstance(error, OSError | TimeoutError) and not type(error).__module__.startswith("redis."):
                logger.error("The tail through Redis failed: %s", describe(error))
            self._followed.mark()
            self._followed.report()

    # What is said, read and carried.

    async def _talk(self, client: Any, ears: Any) -> None:
        """Do what there is to do, whenever there is."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._publish(client)
            await self._change_channels(ears)
            await self._followed.read(client)
            self._followed.report()
            self._report_summonses()
            if self._followed.has_unread:
                self._wake.set()
            if self._feeds and self.is_connected and self.loop.time() >= self._next_tick:
                await self._tick(client)

    async def _publish(self, client: Any) -> None:
        """Say what waits to be said, the probe first."""
        words = list(self._words)
        probe = [(self._probe_channel, self._probe_word)] if self._is_probe_due else []
        self._is_probe_due = False
        if words or probe:
            await run(client, [("PUBLISH", channel, word) for channel, word in probe + words])
        # Only now: what was not said is said on the next connection.
        self._words.difference_update(words)

    async def _change_channels(self, ears: Any) -> None:
        old, new = self._old_channels, self._new_channels
        self._old_channels, self._new_channels = set(), set()
        if old:
            await ears.unsubscribe(*old)
        if new:
            await ears.subscribe(*new)

    def _report_summonses(self) -> None:
        summonses, self._summonses = self._summonses, set()
        if summonses and self._on_wake is not None:
            hand_over(self._on_wake, summonses)

    async def _tick(self, client: Any) -> None:
        began = self.loop.time()
        await self._feeds.carry(client)
        now = self.loop.time()
        # At most half of the time, however many replies are carried and however slow Redis is.
        self._next_tick = now + max(self._tick_seconds, now - began)
        self.loop.call_at(self._next_tick, self._wake.set)


async def _close(tasks: Sequence[asyncio.Task[None]], ears: Any, pool: Any) -> None:
    """End these tasks and both connections, without waiting for a server that does not answer."""
    for task in tasks:
        task.cancel()
    with contextlib.suppress(Exception):
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await asyncio.gather(*tasks, return_exceptions=True)
            await ears.aclose()
    with contextlib.suppress(Exception):
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await pool.disconnect()
