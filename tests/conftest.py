"""What every test module shares: the marker `fast`, which stands for neither processes, nor servers, nor sleeping; what
`--last-failed` runs; and how tables are emptied.

A test is fast unless its class is a plain `TransactionTestCase` or it is marked as slow. What a fast test does is
watched: where it starts a process, binds a socket or sleeps for more than 50 ms, it fails and has to be marked.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import pytest
from django.test import TestCase, TransactionTestCase
from hypothesis import settings

from .empty_tables import empty_tables

# On two cores that many processes share, any one example may be slow.
settings.register_profile("streaming_chat", deadline=None)
settings.load_profile("streaming_chat")

_SLOW = ("browser", "nginx", "slow")
_SLOW_FIXTURES = {"live_server", "transactional_db"}
_SLEEP_SECONDS = 0.05
_FORBIDDEN = {"subprocess.Popen", "os.fork", "os.posix_spawn", "os.system", "socket.bind"}

_sleep, _async_sleep = time.sleep, asyncio.sleep
_failed: set[str] = set()
_found: list[str] | None = None
# Sleeping is looked for in the test's own context: threads that earlier tests left behind may sleep as they like.
_found_here: ContextVar[list[str] | None] = ContextVar("found", default=None)


def pytest_configure() -> None:
    TransactionTestCase._fixture_teardown = empty_tables
    sys.addaudithook(_watch)
    time.sleep, asyncio.sleep = _watched_sleep, _watched_async_sleep


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _is_fast(item):
            item.add_marker(pytest.mark.fast)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        _failed.add(report.nodeid)


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Let `--last-failed` run each test that failed, where pytest forgets one of which only a subtest did."""
    yield
    cache = getattr(session.config, "cache", None)
    if cache is not None and not hasattr(session.config, "workerinput"):
        cache.set("cache/lastfailed", cache.get("cache/lastfailed", {}) | dict.fromkeys(_failed, True))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    with _watching(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    with _watching(item):
        return (yield)


def _is_fast(item: pytest.Item) -> bool:
    if any(item.get_closest_marker(name) for name in _SLOW) or _SLOW_FIXTURES.intersection(item.fixturenames):
        return False
    flushes = item.cls and issubclass(item.cls, TransactionTestCase) and not issubclass(item.cls, TestCase)
    return not flushes


@contextlib.contextmanager
def _watching(item: pytest.Item) -> Iterator[None]:
    """Fail a fast test that does what it may not."""
    global _found  # noqa: PLW0603  (an audit hook is one of the process)
    if item.get_closest_marker("fast") is None:
        yield
        return
    _found = found = []
    token = _found_here.set(found)
    try:
        yield
    finally:
        _found = None
        _found_here.reset(token)
    if found:
        pytest.fail(f"this is not fast, so it needs pytest.mark.slow: {', '.join(found)}.", pytrace=False)


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if _found is not None and event in _FORBIDDEN:
        _found.append(event)


def _watched_sleep(seconds: float) -> None:
    _note_sleep(seconds)
    _sleep(seconds)


async def _watched_async_sleep(delay: float, result: Any = None) -> Any:
    _note_sleep(delay)
    return await _async_sleep(delay, result)


def _note_sleep(seconds: float) -> None:
    found = _found_here.get()
    if found is not None and seconds > _SLEEP_SECONDS:
        found.append(f"a sleep of {seconds} s")
