"""Clocks and counters around the parts of a server's process, put there from outside: the app has no hook for them.

`benchmarks/asgi.py` installs them if BENCH_TRACE is set. A window lasts from one connection to the next, so there must be
one request at a time, each on a connection of its own. GET /trace answers the windows since the last such request.

A stage is charged with the CPU time that a thread spends in it (`time.thread_time`), without the stages inside it. Of a
coroutine, only its own steps count. So the stages and what no stage has add up to the CPU time of the process.
"""

from __future__ import annotations

import gc
import inspect
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial, wraps
from importlib import import_module
from typing import Any, NamedTuple

from django.conf import LazySettings
from django.db.backends.signals import connection_created
from django.utils.deprecation import MiddlewareMixin

from streaming_chat.asgi import Application, Receive, Scope, Send
from streaming_chat.conf import Setting

_ACCEPTING = "accept and parse the request"
_WRITING = "write to the client"
_DJANGO = "Django's handler and middleware"
_AUTHENTICATION = "authenticate: session, user, CSRF"
_OPENING = "open a database connection"
_CLOSING = "close a database connection"
_UPSTREAM = "read the provider's stream"
_HTTP = "uvicorn.protocols.http.httptools_impl"
_DATABASE = "django.db.backends.base.base.BaseDatabaseWrapper"

# Where a function is looked up when it is called -> its stage.
STAGES = {
    f"{_HTTP}.HttpToolsProtocol.connection_made": _ACCEPTING,
    f"{_HTTP}.HttpToolsProtocol.data_received": _ACCEPTING,
    f"{_HTTP}.RequestResponseCycle.run_asgi": "the server's task around the application",
    f"{_HTTP}.RequestResponseCycle.send": _WRITING,
    "django.core.handlers.asgi.ASGIHandler.__call__": _DJANGO,
    "asgiref.sync.SyncToAsync.__call__": "hand over to a thread and wait",
    "django.contrib.sessions.backends.db.SessionStore.load": _AUTHENTICATION,
    "streaming_chat.accounts.permissions.Permissions.authenticate": _AUTHENTICATION,
    "streaming_chat.views.api.streaming._open_in_loop": "the view, in the event loop",
    "streaming_chat.chats.sending._send_once": "send: before and after the transaction",
    "streaming_chat.chats.sending.write_transaction": "send: the transaction",
    "streaming_chat.chats.prepared_reply.stored_messages": "send: the history",
    f"{_DATABASE}.connect": _OPENING,
    f"{_DATABASE}.close": _CLOSING,
    "streaming_chat.engine.run.Run._work": "the run",
    "streaming_chat.providers.http.HttpStream.__aenter__": "open the provider's stream",
    "streaming_chat.providers.http.HttpStream.__aexit__": "close the provider's stream",
    "streaming_chat.providers.http.HttpStream.read": _UPSTREAM,
    "aiohttp.client_proto.ResponseHandler.data_received": _UPSTREAM,
    "streaming_chat.engine.reader.Reader.__anext__": "the reader",
    "streaming_chat.engine.cursor.Cursor.next": "encode",
    "streaming_chat.engine.flusher.Flusher.flush": "save the ending",
}
# What reaches the database without a cursor, and what opens and closes it.
STATEMENTS = {
    f"{_DATABASE}.connect": "(open a connection)",
    f"{_DATABASE}._commit": "COMMIT",
    f"{_DATABASE}._rollback": "ROLLBACK",
}
_COLLECTING = "collect garbage"
_BOUNDARY = f"{_HTTP}.HttpToolsProtocol.connection_made"


class Totals(NamedTuple):
    """Seconds of CPU since the process began: of all, by role of the thread, and by role and stage."""

    process: float
    threads: Counter[str]
    stages: Counter[tuple[str, str]]


class Window:
    """What happened between two connections, in the order in which it ended."""

    def __init__(self) -> None:
        # Role, stage, SQL, seconds, seconds of CPU.
        self.statements: list[tuple[str, str, str, float, float]] = []
        # Kind and name.
        self.hops: list[tuple[str, str]] = []
        self.settings: list[str] = []
        self.unset_settings: list[str] = []


def _role(thread: threading.Thread) -> str:
    name = thread.name.removeprefix("streaming_chat.").rstrip("_0123456789")
    return {"MainThread": "event loop"}.get(name, name)


class _Clock(threading.local):
    """The stages that the current thread is in, the innermost last. since: when it entered or left one."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.since = 0.0
        self.role = _role(threading.current_thread())
        self.spent: Counter[tuple[str, str]] = Counter()
        _spent.append(self.spent)

    def enter(self, stage: str) -> None:
        self._charge()
        self.stages.append(stage)

    def leave(self) -> None:
        self._charge()
        self.stages.pop()

    @property
    def stage(self) -> str:
        return self.stages[-1] if self.stages else ""

    def _charge(self) -> None:
        now = time.thread_time()
        if self.stages:
            self.spent[self.role, self.stages[-1]] += now - self.since
        self.since = now


_spent: list[Counter[tuple[str, str]]] = []
_clock = _Clock()


class Trace:
    """The windows of this process."""

    def __init__(self) -> None:
        self.window = Window()
        self._done: list[dict[str, Any]] = []
        self._before = totals()

    def install(self) -> None:
        """Put the clocks and counters in place. Raises AttributeError if a function is not there any more."""
        for path, sql in STATEMENTS.items():
            _replace(path, partial(self._as_statement, sql))
        for path, stage in STAGES.items():
            _replace(path, partial(_timed, stage))
        _replace(_BOUNDARY, self._as_boundary)
        ThreadPoolExecutor.submit = self._with_hop(ThreadPoolExecutor.submit)
        # With this, an attribute is asked for in the class first, so that settings that are known are counted, too.
        Setting.__set__ = None
        Setting.__get__ = self._counted(Setting.__get__, lambda setting, *_: setting.name, "settings")
        LazySettings.__getattr__ = self._counted(LazySettings.__getattr__, lambda _, name: name, "unset_settings")
        connection_created.connect(self._watch_connection, weak=False)
        gc.callbacks.append(_note_collection)

    def take(self) -> list[dict[str, Any]]:
        """Return the windows that are over, and forget them."""
        done, self._done = self._done, []
        return done

    def begin_window(self) -> None:
        """End one window and begin the next."""
        now, before, over = totals(), self._before, self.window
        self._before, self.window = now, Window()
        stages = [[*key, seconds - before.stages[key]] for key, seconds in now.stages.items()]
        threads = {role: seconds - before.threads[role] for role, seconds in now.threads.items()}
        self._done.append({**vars(over), "cpu": now.process - before.process, "threads": threads, "stages": stages})

    def _as_boundary(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def boundary(*args: Any) -> Any:
            self.begin_window()
            return function(*args)

        return boundary

    def _as_statement(self, sql: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def noted(*args: Any, **kwargs: Any) -> Any:
            with self._statement(sql):
                return function(*args, **kwargs)

        return noted

    def _watch_connection(self, connection: Any, **kwargs: Any) -> None:
        if self._execute not in connection.execute_wrappers:
            # Not last: a block of `connection.execute_wrapper`, in which a connection may be opened, takes away the last.
            connection.execute_wrappers.insert(0, self._execute)

    def _execute(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        with self._statement(sql):
            return execute(sql, params, many, context)

    @contextmanager
    def _statement(self, sql: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.thread_time()
        yield
        cpu, wall = time.thread_time() - cpu, time.perf_counter() - wall
        self.window.statements.append((_clock.role, _clock.stage, sql, wall, cpu))

    def _with_hop(self, submit: Callable[..., Any]) -> Callable[..., Any]:
        def noted(executor: ThreadPoolExecutor, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
            kind, name = _hop(call)
            self.window.hops.append((kind, name))
            return submit(executor, _timed(f"{kind}, in a thread", call), *args, **kwargs)

        return noted

    def _counted(self, function: Callable[..., Any], name: Callable[..., str], counter: str) -> Any:
        @wraps(function)
        def counted(*args: Any) -> Any:
            getattr(self.window, counter).append(name(*args))
            return function(*args)

        return counted


def traced(application: Application) -> Application:
    """Install the clocks, and answer GET /trace."""
    trace = Trace()
    trace.install()

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/trace":
            await application(scope, receive, send)
            return
        body = json.dumps(trace.take()).encode()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return serve


def totals() -> Totals:
    """Return what the process has spent until now."""
    threads: Counter[str] = Counter()
    for thread in threading.enumerate():
        clock = time.pthread_getcpuclockid(thread.ident or 0)
        threads[_role(thread)] += time.clock_gettime(clock)
    stages: Counter[tuple[str, str]] = Counter()
    for spent in _spent:
        stages.update(spent)
    return Totals(time.process_time(), threads, stages)


def find(path: str) -> tuple[Any, str]:
    """Return the module or class that has a function, and the function's name. path: dotted."""
    names = path.split(".")
    for length in range(len(names) - 1, 0, -1):
        try:
            owner = import_module(".".join(names[:length]))
        except ModuleNotFoundError:
            continue
        for name in names[length:-1]:
            owner = getattr(owner, name)
        return owner, names[-1]
    raise ModuleNotFoundError(path)


def _replace(path: str, wrapper: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    owner, name = find(path)
    setattr(owner, name, wrapper(getattr(owner, name)))


def _timed(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function, a coroutine function or not, with its time charged to a stage."""
    if inspect.iscoroutinefunction(function):

        async def timed_coroutine(*args: Any, **kwargs: Any) -> Any:
            return await _Steps(function(*args, **kwargs), stage)

        return timed_coroutine

    def timed(*args: Any, **kwargs: Any) -> Any:
        _clock.enter(stage)
        try:
            return function(*args, **kwargs)
        finally:
            _clock.leave()

    return timed


class _Steps:
    """Awaits a coroutine, and charges each of its steps to a stage."""

    def __init__(self, coroutine: Any, stage: str) -> None:
        self.send = _timed(stage, coroutine.send)
        self.throw = _timed(stage, coroutine.throw)
        self.close = coroutine.close

    def __await__(self) -> Generator[Any, Any, Any]:
        return self  # type: ignore[return-value]  # what `await` calls of a generator is here

    def __iter__(self) -> _Steps:
        return self

    def __next__(self) -> Any:
        return self.send(None)


def _hop(call: Any) -> tuple[str, str]:
    """Return the kind and the name of what an executor is given; asgiref wraps it twice."""
    while isinstance(call, partial):
        # sync_to_async: the last argument of its thread_handler is the function with its arguments.
        call = call.args[-1] if call.args and isinstance(call.args[-1], partial) else call.func
    owner = getattr(call, "__self__", None)
    name = getattr(call, "__qualname__", repr(call))
    if isinstance(owner, MiddlewareMixin):
        return "middleware", f"{type(owner).__name__}.{call.__name__}"
    if name.startswith("Signal."):
        return "signal", name.split(".")[1]
    module = getattr(call, "__module__", None) or ""
    return ("view" if module.startswith("streaming_chat") else "other"), name


def _note_collection(phase: str, info: dict[str, int]) -> None:
    if phase == "start":
        _clock.enter(_COLLECTING)
    else:
        _clock.leave()
