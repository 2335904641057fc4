"""Notifications and events through Redis 7 or newer, or Valkey: replies of other processes within about 15 ms.

The process that writes a reply adds its events to a Redis stream while another process follows the reply. One thread of
each process talks to Redis, on two connections: one adds entries, the other waits for all streams that the process needs,
in one `XREAD BLOCK` (https://redis.io/docs/latest/commands/xread/). It reads an entry that was added while it did not wait,
so there is nothing to miss. Still, Redis is only a faster path: whatever it loses, refuses or delays shows as a gap or a
silence, the database fills it, and it costs latency and nothing else.

Redis holds the text of these replies until 10 s after their ending, and for at most `expire_seconds` after the last event.
It is trusted as a cache or a session store is: whoever can write to it can add text to what readers in other processes see
while a reply is being written. The database, and so everything that is read later, is not affected.

Not supported: addresses of Sentinels, and redirections of Redis Cluster. A proxy that distributes keys over servers works.
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

from django.core.exceptions import ImproperlyConfigured
from django.db import transaction

from streaming_chat.logs import describe, logger
from streaming_chat.protocol.events import Event

from .base import Notifier, Subscriber
from .redis_streams import CHANGED, EVENTS, HEARTBEAT, WAKE, Command, Keys, Notification, Publication, decode_events

_SCHEMES = ("redis", "rediss", "unix")
_CONNECT_TIMEOUT_SECONDS = 2.0
_FORGET_TIMEOUT_SECONDS = 1.0
_HEARTBEAT_SECONDS = 1.0
_BLOCK_MILLISECONDS = 1_000
# A connection that says nothing for so long is dead. XREAD answers after _BLOCK_MILLISECONDS at the latest.
_SILENCE_SECONDS = 3.0
_SHORTEST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 2.0
# Between two looks for new events: most of what Redis adds to the latency of a token.
_TICK_SECONDS = 0.02
# Between two reads that found something. Only a process that follows many replies ever waits for it.
_READ_PAUSE_SECONDS = 0.005
_ENTRIES_PER_READ = 100
# Streams that one round trip changes.
_BATCH_SIZE = 100
# Notifications that are kept while Redis is away. The database has what the others would have said.
_MAX_NOTIFICATIONS = 10_000


class _Source:
    """A stream that is read. handle: called with the field and the value of each entry, in the thread."""

    def __init__(self, handle: Callable[[bytes, bytes], None]) -> None:
        self.handle = handle
        self.last_id = b"0"


class RedisNotifier(Notifier):
    """Its methods only note what is wanted and wake the thread, so neither requests nor replies wait for Redis.

    url: The address of the server, as redis://, rediss:// or unix://, with the options of redis-py.
    prefix: The start of every key. Sites that share a server need different ones.
    expire_seconds: How long text stays in Redis after the last event of a reply that has no ending.
    """

    def __init__(self, url: str, prefix: str = "streaming_chat", expire_seconds: float = 60.0) -> None:
        """Raises ImproperlyConfigured for a URL of another kind, or without the package redis."""
        _require_redis()
        _require_valid_url(url)
        self._url, self._keys, self._expire_seconds = url, Keys(prefix), expire_seconds
        self._tasks_of_parents: list[object] = []
        self._clear()

    def _clear(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._task: asyncio.Task[None] | None = None
        self._publications: dict[uuid.UUID, Publication] = {}
        self._notifications: set[Notification] = set()
        self._sources: dict[bytes, _Source] = {}
        self._worker_key = self._process_key = b""
        self._next_heartbeat = 0.0
        self._heard_at = float("-inf")
        self._is_away = self._has_ignored_entry = False

    @property
    def is_connected(self) -> bool:
        """Whether the last heartbeat came back from Redis in time."""
        return time.monotonic() - self._heard_at < 2 * _HEARTBEAT_SECONDS

    def listen(self, worker: str, on_wake: Callable[[Iterable[uuid.UUID]], None], using: str) -> None:
        self._worker_key = self._keys.worker(worker)
        self._add_source(self._worker_key, partial(_handle_wake, on_wake))

    def stop_listening(self) -> None:
        self._sources.pop(self._worker_key, None)

    def notify_on_commit(self, using: str, message_ids: Sequence[uuid.UUID]) -> None:
        notifications = [Notification(self._keys.reply(pk), CHANGED) for pk in message_ids]
        transaction.on_commit(partial(self._notify, notifications), using=using, robust=True)

    def wake(self, using: str, worker: str, message_id: uuid.UUID) -> None:
        self._notify([Notification(self._keys.worker(worker), WAKE, message_id.hex.encode())])

    def publish(self, message_id: uuid.UUID, events: Sequence[Event]) -> None:
        publication = self._publications.get(message_id)
        if publication is None:
            self._publications[message_id] = Publication(self._keys.reply(message_id), events, self._expire_seconds)
            self._wake_thread()
        else:
            publication.has_ended = False

    def stop_publishing(self, message_id: uuid.UUID) -> None:
        if (publication := self._publications.get(message_id)) is not None:
            publication.has_ended = True

    def subscribe(self, message_id: uuid.UUID, subscriber: Subscriber, using: str) -> None:
        """Events that Redis still holds are received, too."""
        self._add_source(self._keys.reply(message_id), partial(_handle_reply, message_id, subscriber))

    def unsubscribe(self, message_id: uuid.UUID) -> None:
        self._sources.pop(self._keys.reply(message_id), None)

    def forget(self, message_ids: Sequence[uuid.UUID]) -> None:
        """Delete their streams, on a connection of its own. If Redis cannot be reached, they expire."""
        redis: Any = import_module("redis")
        timeouts = {"socket_timeout": _FORGET_TIMEOUT_SECONDS, "socket_connect_timeout": _CONNECT_TIMEOUT_SECONDS}
        try:
            with redis.Redis.from_url(self._url, **timeouts) as client:
                for batch in _in_batches(message_ids):
                    client.delete(*map(self._keys.reply, batch))
        except (OSError, redis.RedisError) as error:
            name = type(error).__name__
            logger.error("The text of %d replies stays in Redis until it expires (%s).", len(message_ids), name)

    def close(self) -> None:
        """Later calls start the thread again."""
        thread, task = self._thread, self._task
        if thread is not None and task is not None:
            with contextlib.suppress(RuntimeError):
                task.get_loop().call_soon_threadsafe(task.cancel)
            thread.join(2 * _CONNECT_TIMEOUT_SECONDS)
        self._clear()

    def reset(self) -> None:
        # If it were collected, its sockets would be removed from the epoll that the parent waits on.
        self._tasks_of_parents.append(self._task)
        self._clear()

    def _notify(self, notifications: Sequence[Notification]) -> None:
        if len(self._notifications) < _MAX_NOTIFICATIONS:
            self._notifications.update(notifications)
        self._wake_thread()

    def _add_source(self, key: bytes, handle: Callable[[bytes, bytes], None]) -> None:
        self._sources[key] = _Source(handle)
        # It ends the XREAD that waits for the other streams.
        self._next_heartbeat = 0.0
        self._wake_thread()

    # The thread

    def _wake_thread(self) -> None:
        # RuntimeError: the interpreter is ending, and no thread can be started.
        with self._lock, contextlib.suppress(RuntimeError):
            if self._task is None or self._thread is None or not self._thread.is_alive():
                self._task = self._start_thread()
            self._task.get_loop().call_soon_threadsafe(self._due.set)

    def _start_thread(self) -> asyncio.Task[None]:
        self._due = asyncio.Event()
        task = asyncio.new_event_loop().create_task(self._run())
        self._thread = threading.Thread(target=_run_task, args=[task], name="streaming_chat.notifier", daemon=True)
        self._thread.start()
        return task

    async def _run(self) -> None:
        pause = _SHORTEST_PAUSE_SECONDS
        while not _is_cancelled():
            try:
                await self._converse()
            except Exception as error:  # noqa: BLE001  (without this thread, Redis would never be used again)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS) if self._is_away else _SHORTEST_PAUSE_SECONDS
                self._note_loss(error)
            # Many processes lose a server at once, and must not return to it at once.
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311  (not a secret)

    async def _converse(self) -> None:
        """Read and write until one of the connections fails."""
        self._sources.pop(self._process_key, None)
        self._process_key, self._next_heartbeat = self._keys.process(), 0.0
        self._sources[self._process_key] = _Source(self._handle_heartbeat)
        for source in list(self._sources.values()):
            # The ids of a server that was restarted may be lower than those that were read.
            source.last_id = b"0"
        pool = _make_pool(self._url)
        client = import_module("redis.asyncio").Redis(connection_pool=pool)
        tasks = [asyncio.ensure_future(self._read(client)), asyncio.ensure_future(self._write(client))]
        try:
            await asyncio.gather(*tasks)
        finally:
            await _close(tasks, pool)

    def _note_loss(self, error: Exception) -> None:
        """Warn once, keep nothing that grows, and have the database read."""
        self._heard_at = float("-inf")
        self._remove_publications([pk for pk, each in list(self._publications.items()) if each.has_ended])
        if self._is_away:
            return
        self._is_away = True
        is_known = isinstance(error, OSError) or type(error).__module__.startswith("redis.")
        reason = type(error).__name__ if is_known else describe(error)
        logger.warning("Redis cannot be used; replies of other processes are followed through the database: %s", reason)
        self._report_all_changed()

    def _handle_heartbeat(self, field: bytes, value: bytes) -> None:
        was_connected = self.is_connected
        if field == HEARTBEAT:
            self._heard_at = time.monotonic()
            if self._is_away:
                self._is_away = False
                logger.info("Redis is used again.")
            if not was_connected:
                # Entries may have been lost in the meantime.
                self._report_all_changed()

    def _report_all_changed(self) -> None:
        for source in list(self._sources.values()):
            self._handle(source, CHANGED, b"")

    # Reading

    async def _read(self, client: Any) -> None:
        options = ("COUNT", _ENTRIES_PER_READ, "BLOCK", _BLOCK_MILLISECONDS)
        while not _is_cancelled():
            sources = dict(self._sources)
            last_ids = [source.last_id for source in sources.values()]
            answer = await client.execute_command("XREAD", *options, "STREAMS", *sources, *last_ids)
            for key, entries in answer or ():
                sources[key].last_id = entries[-1][0]
                for _id, fields in entries:
                    # It may have been removed in the meantime.
                    if self._sources.get(key) is sources[key]:
                        self._handle(sources[key], *next(iter(fields.items())))
            if answer:
                await asyncio.sleep(_READ_PAUSE_SECONDS)

    def _handle(self, source: _Source, field: bytes, value: bytes) -> None:
        try:
            source.handle(field, value)
        except Exception as error:  # noqa: BLE001  (an entry of another version, or what the receiver raised)
            if not self._has_ignored_entry:
                self._has_ignored_entry = True
                logger.error("An entry of Redis was ignored: %s", describe(error))

    # Writing

    async def _write(self, client: Any) -> None:
        while not _is_cancelled():
            self._due.clear()
            began = time.monotonic()
            await self._send_notifications(client)
            await self._send_events(client)
            now = time.monotonic()
            # At most half of the time, however many replies there are and however slow Redis is.
            pause = max(_TICK_SECONDS, now - began) if self._publications else self._next_heartbeat - now
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._due.wait()

    async def _send_notifications(self, client: Any) -> None:
        if time.monotonic() >= self._next_heartbeat:
            self._next_heartbeat = time.monotonic() + _HEARTBEAT_SECONDS
            await _execute(client, Notification(self._process_key, HEARTBEAT).commands())
        for batch in _in_batches(list(self._notifications)):
            # Removed first: one that is repeated in the meantime is about a later commit.
            self._notifications.difference_update(batch)
            try:
                await _execute(client, (command for each in batch for command in each.commands()))
            except Exception:
                self._notifications.update(batch)
                raise

    async def _send_events(self, client: Any) -> None:
        for batch in _in_batches([(pk, each) for pk, each in list(self._publications.items()) if each.is_due]):
            ended = [pk for pk, publication in batch if publication.has_ended]
            await _execute(client, (command for _pk, each in batch for command in each.commands()))
            for _pk, publication in batch:
                publication.confirm()
            self._remove_publications(ended)

    def _remove_publications(self, message_ids: Iterable[uuid.UUID]) -> None:
        for pk in message_ids:
            publication = self._publications.get(pk)
            # It may have been published again.
            if publication is not None and publication.has_ended:
                del self._publications[pk]


def _handle_wake(on_wake: Callable[[Iterable[uuid.UUID]], None], field: bytes, value: bytes) -> None:
    if field == WAKE:
        on_wake([uuid.UUID(value.decode())])


def _handle_reply(message_id: uuid.UUID, subscriber: Subscriber, field: bytes, value: bytes) -> None:
    if field == EVENTS:
        subscriber.events_received(message_id, *decode_events(value))
    elif field == CHANGED:
        subscriber.rows_changed([message_id])


def _is_cancelled() -> bool:
    """Return whether the current task was cancelled: redis-py often swallows a CancelledError while it connects."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _run_task(task: asyncio.Task[None]) -> None:
    with contextlib.closing(task.get_loop()) as loop, contextlib.suppress(asyncio.CancelledError):
        loop.run_until_complete(task)


async def _execute(client: Any, commands: Iterable[Command]) -> None:
    """Execute commands in one transaction: no stream stays without an expiry, and readers are woken once.

    Raises if Redis refuses all of them, as one that is full or read-only does. An error of a single key, which holds
    something else, is ignored.
    """
    pipeline = client.pipeline(transaction=True)
    for command in commands:
        pipeline.execute_command(*command)
    await pipeline.execute(raise_on_error=False)


def _make_pool(url: str) -> Any:
    connection = import_module("redis.asyncio.connection")
    retry = import_module("redis.asyncio.retry").Retry(import_module("redis.backoff").NoBackoff(), 0)
    timeouts: dict[str, Any] = {"socket_timeout": _SILENCE_SECONDS, "socket_connect_timeout": _CONNECT_TIMEOUT_SECONDS}
    fixed = {"decode_responses": False, "protocol": 2, "retry": retry, "health_check_interval": 0}
    return connection.ConnectionPool(**{**timeouts, **connection.parse_url(url), **fixed})


async def _close(tasks: Sequence[asyncio.Future[None]], pool: Any) -> None:
    """End both tasks and connections, without waiting for a server that does not answer."""
    for task in tasks:
        task.cancel()
    with contextlib.suppress(Exception):
        async with asyncio.timeout(_CONNECT_TIMEOUT_SECONDS):
            await asyncio.gather(*tasks, return_exceptions=True)
            await pool.disconnect()


def _in_batches(items: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (items[first : first + _BATCH_SIZE] for first in range(0, len(items), _BATCH_SIZE))


def _require_redis() -> None:
    try:
        import_module("redis.asyncio")
    except ImportError as error:
        raise ImproperlyConfigured(
            "RedisNotifier needs the package redis, which is not installed: pip install 'streaming-chat[redis]'."
        ) from error


def _require_valid_url(url: Any) -> None:
    scheme = urlsplit(url).scheme if isinstance(url, str) else type(url).__name__
    if scheme not in _SCHEMES:
        raise ImproperlyConfigured(f"url must begin with redis://, rediss:// or unix://, got {scheme!r}.")
    try:
        import_module("redis.asyncio.connection").parse_url(url)
    except ValueError as error:
        # Its message names the part that is wrong, and no password.
        raise ImproperlyConfigured(f"url is not an address of Redis: {error}.") from None
