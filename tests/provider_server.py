"""A model provider on loopback, for tests: real sockets, three wire formats, every fault of providers and networks.

    with ProviderServer() as provider:
        provider.script(Script(["Hello", ", wörld"]))
        …                                   # a provider pointed at provider.openai_url or .anthropic_url
        call = provider.wait_for_call()     # the first request, once its headers and body are here
        provider.wait_for(lambda: call.ended)

        assert call.body["model"] == "gpt-x"
        assert call.text == "Hello, wörld"  # what was really written to the socket
        assert not call.closed_early

It runs in a thread with a loop of its own and listens on a free port of 127.0.0.1, so a server in a thread,
one in a subprocess and a test's own loop can all talk to it. POST …/chat/completions is answered as
chat.completions, POST …/responses as OpenAI's Responses API (tests/responses_wire.py), POST …/messages as
Anthropic's messages; anything else is 404.

**Which script answers.** In this order: `by_model[model]`, `by_text[text of the last message]`, the queue
that `script()` fills (each is used once, in the order of the requests), `default`. One script may answer any
number of requests.

**Mid-reply, without a sleep.** A gate holds a reply before its delta n, until the test opens it:

    gate = Gate()
    provider.script(Script(["a", "b", "c"], gates={2: gate}))
    …
    gate.wait_reached()                     # "a" and "b" are written, "c" is not
    …                                       # look at the half reply, stop it, leave it …
    gate.open()

Gate 0 holds the first delta, gate `len(deltas)` the finish; the headers are out by then.

**Faults** (`fault`, after `after` deltas; `after=-1`: before the headers):

    cut         the body ends in good form, without a finish: what a proxy makes of a provider that dies
    drop        the connection is closed (FIN) in the middle of the chunked body
    reset       the connection is reset (RST, by SO_LINGER 0)
    stall       nothing comes any more, the connection stays open
    heartbeats  nothing but comments comes any more, the connection stays open
    error       an error event (`error`: its payload), then the body ends
    bad_json    an event whose data is not JSON; the reply goes on after it
    bad_utf8    an event whose data is not UTF-8; the reply goes on after it
    endless     the deltas again and again, until the client leaves (`after` does not matter)

Anthropic's API refuses blank texts, as the real one does, and a prompt that ends with an assistant's turn if
that has trailing white space, or the model is of the generation 4.6 or later. All three refuse calls of tools and
results that are not in pairs (tests/tool_pairs.py), and Anthropic's a budget for thinking where there cannot be one.

`status` other than 200 answers with `body` (bytes, or anything JSON) and `headers` instead. With `framing` "chunked" or
"length" and one of these faults, the body goes on after that; `call.sent` counts its bytes:

    endless     the body again and again, until the client leaves
    trickle     its last byte again and again, one every 10 ms
    stall       nothing comes any more, the connection stays open

**What is recorded**, for each request, in `provider.calls` (see Call): path, headers, parsed body, the deltas
whose last byte was written, whether and when the client closed before the reply was whole.
`wait_for(condition)` waits, by a threading.Condition and not by polling, until something recorded makes the
condition true; it raises AssertionError after TIMEOUT seconds. From an async test, use `await
provider.until(condition)`, which does not block the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from . import tool_pairs

TIMEOUT = 10.0  # Seconds after which a wait fails its test.

_FAULTS = frozenset(
    ["", "cut", "drop", "reset", "stall", "heartbeats", "error", "bad_json", "bad_utf8", "endless", "trickle"]
)
_BLOCK_END = re.compile(rb"(?:\r\n|\n|\r)(?:\r\n|\n|\r)")
_NO_PREFILL = re.compile(r"claude-\w+-(4-[6-9]|[5-9])")
_RESET = struct.pack("ii", 1, 0)


class Gate:
    """Holds replies at one delta until it is opened; any thread may wait for it and open it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._opened = False
        self._reached = threading.Event()
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def open(self) -> None:
        """Let all replies that stand here, and all that come here, go on."""
        with self._lock:
            self._opened = True
            waiting, self._waiting = self._waiting, []
        for loop, event in waiting:
            with contextlib.suppress(RuntimeError):  # The server has stopped.
                loop.call_soon_threadsafe(event.set)

    def wait_reached(self, timeout: float = TIMEOUT) -> None:
        """Return once a reply stands here. Raises AssertionError after `timeout` seconds."""
        if not self._reached.wait(timeout):
            raise AssertionError(f"no reply reached the gate within {timeout} s.")

    async def until_reached(self) -> None:
        """Do the same without blocking the loop."""
        await asyncio.to_thread(self.wait_reached)

    async def hold(self) -> None:
        """Wait here (the server's side)."""
        event = asyncio.Event()
        with self._lock:
            if self._opened:
                event.set()
            else:
                self._waiting.append((asyncio.get_running_loop(), event))
        self._reached.set()
        await event.wait()


@dataclass
class Script:
    """One reply.

    deltas: the text, piece by piece. reasoning: pieces that come before it, not counted as deltas.
    tool_calls: (name, arguments as JSON text) pairs that come after it, not counted as deltas.
    finish: the provider's word; "" for none. usage: (input, output) tokens, or None.
    pause: seconds between deltas. delay_headers, delay_first: seconds before the headers, before the first
    event.
    gates: delta number -> Gate. fault, after, error: see the module.
    writes: "event" (one write each), "whole" (all in one), "random" (cut at random bytes, by `seed`), or a
    list of byte positions to cut at; all but "event" leave out pauses and gates.
    crlf, bom: line ends and a byte order mark. pings: a comment (Anthropic: a ping event) before every delta.
    framing: "chunked", "length" or "close" (the body ends with the connection).
    as_json: a whole JSON body instead of a stream, whatever was asked for. content_type: "" for the usual one, None for
    none.
    raw: recorded bytes in place of all of the above but faults, writes, crlf and bom; `after` counts its
    blocks.
    reason: the reason phrase after the status.
    """

    deltas: Sequence[str] = ("Hello", ", ", "wörld", "!")
    reasoning: Sequence[str] = ()
    tool_calls: Sequence[tuple[str, str]] = ()
    finish: str | None = None
    usage: tuple[int, int] | None = (7, 4)
    pause: float = 0.0
    delay_headers: float = 0.0
    delay_first: float = 0.0
    gates: dict[int, Gate] = field(default_factory=dict)
    fault: str = ""
    after: int = 0
    error: dict[str, Any] | None = None
    writes: str | Sequence[int] = "event"
    seed: int = 0
    crlf: bool = False
    bom: bool = False
    pings: bool = False
    framing: str = "chunked"
    as_json: bool = False
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = b""
    content_type: str | None = ""
    raw: bytes | None = None
    reason: str = "Status"

    def __post_init__(self) -> None:
        if self.fault not in _FAULTS:
            raise ValueError(f"fault: one of {sorted(_FAULTS)} was expected, got {self.fault!r}.")
        if self.status != 200 and self.fault and not self.body:
            raise ValueError("An error that goes on needs a body.")

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.deltas)


class Call:
    """One request, and what became of its reply. Times are time.monotonic().

    deltas: the texts whose last byte was written. ended: the server is done with it, for whatever reason.
    whole: the reply was written to its end. closed_early: the client closed before that, at closed_at.
    """

    def __init__(self, path: str, headers: dict[str, str], body: Any, script: Script) -> None:
        self.path = path
        self.headers = headers
        self.body = body
        self.script = script
        self.deltas: list[str] = []
        self.events = 0
        self.sent = 0
        self.started_at = time.monotonic()
        self.ended = False
        self.whole = False
        self.closed_early = False
        self.closed_at: float | None = None

    @property
    def text(self) -> str:
        """The text that was written."""
        return "".join(self.deltas)

    @property
    def prompt(self) -> str:
        """The text of the last message that was asked."""
        return _last_text(self.body)

    def __repr__(self) -> str:
        states = {"whole": self.whole, "closed early": self.closed_early, "ended": self.ended, "open": True}
        state = next(name for name, holds in states.items() if holds)
        return f"<Call {self.path} {len(self.deltas)} deltas, {state}>"


class Frame:
    """Bytes that are written together: one event, or a few. delta: the text it completes, if any."""

    __slots__ = ("data", "delta")

    def __init__(self, data: bytes, delta: str | None = None) -> None:
        self.data = data
        self.delta = delta


class ProviderServer:
    """See the module. Attributes may be changed between requests, from the test's thread."""

    def __init__(self, default: Script | None = None) -> None:
        self.default = default or Script()
        self.by_model: dict[str, Script] = {}
        self.by_text: dict[str, Script] = {}
        self.port = 0
        self.connections = 0
        self._queue: list[Script] = []
        self._calls: list[Call] = []
        self._changed = threading.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """The root, without a path."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def openai_url(self) -> str:
        """What an OpenAI client takes as its base_url."""
        return f"{self.url}/v1"

    @property
    def anthropic_url(self) -> str:
        """What an Anthropic client takes as its base_url."""
        return self.url

    @property
    def calls(self) -> list[Call]:
        """The requests so far, in the order in which they came."""
        with self._changed:
            return list(self._calls)

    def script(self, *scripts: Script) -> None:
        """Queue scripts, one for each of the next requests."""
        with self._changed:
            self._queue.extend(scripts)

    def clear(self) -> None:
        """Forget queued scripts and recorded calls."""
        with self._changed:
            self._queue.clear()
            self._calls.clear()

    def wait_for(self, condition: Callable[[], object], timeout: float = TIMEOUT) -> None:
        """Return once the condition is true; it is tried again whenever something is recorded.

        Raises AssertionError after `timeout` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(condition, timeout):
                raise AssertionError(f"this did not come true within {timeout} s: {self._calls}.")

    async def until(self, condition: Callable[[], object]) -> None:
        """Do the same without blocking the loop."""
        await asyncio.to_thread(self.wait_for, condition)

    def wait_for_call(self, number: int = 1, timeout: float = TIMEOUT) -> Call:
        """Return the request of this number, counted from 1, once it is here."""
        self.wait_for(lambda: len(self._calls) >= number, timeout)
        return self._calls[number - 1]

    async def until_call(self, number: int = 1) -> Call:
        """Do the same without blocking the loop."""
        return await asyncio.to_thread(self.wait_for_call, number)

    def __enter__(self) -> Self:
        ready: threading.Event = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="provider-server", daemon=True)
        self._thread.start()
        ready.wait()
        return self

    def __exit__(self, *args: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self, ready: threading.Event) -> None:
        asyncio.run(self._serve(ready))

    async def _serve(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, backlog=4096)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await self._stop.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            await _Connection(self, reader, writer).serve()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    def choose(self, body: Any) -> Script:
        """Return the script that answers this request."""
        model = body.get("model") if isinstance(body, dict) else None
        with self._changed:
            if model in self.by_model:
                return self.by_model[model]
            if (text := _last_text(body)) in self.by_text:
                return self.by_text[text]
            return self._queue.pop(0) if self._queue else self.default

    def record(self, call: Call, **changes: object) -> None:
        """Change a call and wake whoever waits."""
        with self._changed:
            for name, value in changes.items():
                setattr(call, name, value)
            self._changed.notify_all()

    def record_frame(self, call: Call, frame: Frame) -> None:
        """Note that this frame is written."""
        with self._changed:
            call.events += 1
            if frame.delta is not None:
                call.deltas.append(frame.delta)
            self._changed.notify_all()

    def add(self, call: Call) -> None:
        """Note a new request."""
        with self._changed:
            self._calls.append(call)
            self._changed.notify_all()


class _ClosedError(Exception):
    """The client has closed the connection."""


class _Connection:
    """Serves one connection, request after request."""

    def __init__(self, server: ProviderServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server = server
        self.reader = reader
        self.writer = writer
        self.pending = b""
        self.closing = False
        server.connections += 1

    async def serve(self) -> None:
        while (request := await self._request()) is not None:
            call, wire = request
            self.server.add(call)
            if not await self._reply(call, wire):
                return

    async def _request(self) -> tuple[Call, Any] | None:
        head = await self._until(b"\r\n\r\n")
        if head is None:
            return None
        request_line, *lines = head.decode("latin-1").split("\r\n")
        path = request_line.split(" ")[1]
        fields = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in fields}
        body = _parsed(await self._exactly(int(headers.get("content-length", 0))))
        wire = _wire(path)
        script = (wire.refusal(body) or self.server.choose(body)) if wire else Script(status=404, body={"error": {}})
        return Call(path, headers, body, script), wire

    async def _until(self, end: bytes) -> bytes | None:
        while end not in self.pending:
            data = await self.reader.read(65536)
            if not data:
                return None
            self.pending += data
        head, _, self.pending = self.pending.partition(end)
        return head

    async def _exactly(self, size: int) -> bytes:
        if (missing := size - len(self.pending)) > 0:
            self.pending += await self.reader.readexactly(missing)
        body, self.pending = self.pending[:size], self.pending[size:]
        return body

    async def _reply(self, call: Call, wire: Any) -> bool:
        """Write the reply, watching whether the client leaves; return whether the connection can be used again."""
        writing = asyncio.ensure_future(self._write(call, wire))
        watching = asyncio.ensure_future(self._watch())
        try:
            await asyncio.wait({writing, watching}, return_when=asyncio.FIRST_COMPLETED)
            if self.closing:
                return await writing
            if not writing.done():
                self.server.record(call, closed_early=True, closed_at=time.monotonic())
                return False
            return writing.result()
        except (ConnectionError, _ClosedError):
            self.server.record(call, closed_early=True, closed_at=time.monotonic())
            return False
        finally:
            for task in (writing, watching):
                task.cancel()
            await asyncio.gather(writing, watching, return_exceptions=True)
            self.server.record(call, ended=True)

    async def _watch(self) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await self.reader.read(65536):
                self.pending += data

    async def _write(self, call: Call, wire: Any) -> bool:
        script = call.script
        await asyncio.sleep(script.delay_headers)
        if script.fault and script.fault != "endless" and script.after < 0:
            return await self._break(script.fault, Body(self.writer, "close"))
        if script.status != 200 and script.fault:
            await self._write_endlessly(call, wire)
            return False
        if script.status != 200 or script.as_json or (wire and not call.body.get("stream")):
            await self._write_whole(call, wire)
            return True
        body = Body(self.writer, script.framing)
        await self._write_stream(call, wire, body)
        if script.fault in ("cut", "drop", "reset", "stall"):
            return await self._break(script.fault, body)
        await body.end()
        self.server.record(call, whole=True)
        if script.framing == "close":
            await self._close()
        return script.framing != "close"

    async def _write_whole(self, call: Call, wire: Any) -> None:
        script = call.script
        whole = script.status == 200
        body = wire.whole(script) if whole and not script.body else script.body
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        headers = {**_content_type(script, "application/json"), **wire_headers(wire), **script.headers}
        headers["content-length"] = str(len(body))
        self.writer.write(_head(script.status, headers, script.reason) + body)
        await self.writer.drain()
        if whole:
            for delta in script.deltas:
                self.server.record_frame(call, Frame(b"", delta))
        self.server.record(call, whole=True)

    async def _write_endlessly(self, call: Call, wire: Any) -> None:
        """Write the body of an error that does not end."""
        script, body = call.script, Body(self.writer, call.script.framing)
        length = {"content-length": str(10**12)} if script.framing == "length" else {}
        headers = {**_content_type(script, "application/json"), **wire_headers(wire), **length, **script.headers}
        await body.start(script.status, headers, script.reason)
        piece = script.body if isinstance(script.body, bytes) else json.dumps(script.body).encode()
        while True:
            await body.write(piece)
            self.server.record(call, sent=call.sent + len(piece))
            if script.fault == "stall":
                await asyncio.Event().wait()
            if script.fault == "trickle":
                piece = piece[-1:]
                await asyncio.sleep(0.01)

    async def _write_stream(self, call: Call, wire: Any, body: Body) -> None:
        script = call.script
        frames = _frames(script, wire)
        headers = {
            **_content_type(script, "text/event-stream; charset=utf-8"),
            **wire_headers(wire),
            **script.headers,
        }
        if script.fault == "cut":  # So that no client takes the connection for its next request.
            headers["connection"] = "close"
        if script.framing == "length":
            headers["content-length"] = str(sum(len(frame.data) for frame in frames))
        await body.start(script.status, headers)
        await asyncio.sleep(script.delay_first)
        if script.writes == "event":
            await self._write_frames(call, frames, body)
        else:
            await self._write_pieces(call, list(frames), body)

    async def _write_frames(self, call: Call, frames: Iterator[Frame] | list[Frame], body: Body) -> None:
        script = call.script
        number = 0
        for frame in frames:
            counted = frame.delta is not None or script.raw is not None
            if number in script.gates and (counted or number == len(script.deltas)):
                await script.gates[number].hold()
            if script.pause and number:
                await asyncio.sleep(script.pause)
            await body.write(frame.data)
            self.server.record_frame(call, frame)
            number += counted
            if script.fault == "endless":
                await asyncio.sleep(0)

    async def _write_pieces(self, call: Call, frames: list[Frame], body: Body) -> None:
        data = b"".join(frame.data for frame in frames)
        written = due = 0
        waiting = list(frames)
        for piece in _pieces(data, call.script):
            await body.write(piece)
            written += len(piece)
            while waiting and due + len(waiting[0].data) <= written:
                due += len(waiting[0].data)
                self.server.record_frame(call, waiting.pop(0))
            await asyncio.sleep(0)

    async def _break(self, fault: str, body: Body) -> bool:
        if fault == "stall":
            await asyncio.Event().wait()
        elif fault == "heartbeats":
            while True:
                await body.write(b": heartbeat\n\n")
                await asyncio.sleep(0.01)
        elif fault == "cut":
            await body.end()
        elif fault == "reset":
            self.closing = True
            self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.writer.transport.abort()
            return False
        await self._close()
        return False

    async def _close(self) -> None:
        """Send what is buffered, then FIN."""
        self.closing = True
        self.writer.close()
        await self.writer.wait_closed()


class Body:
    """Writes an HTTP body in one of three framings."""

    def __init__(self, writer: asyncio.StreamWriter, framing: str) -> None:
        self.writer = writer
        self.framing = framing

    async def start(self, status: int, headers: dict[str, str], reason: str = "Status") -> None:
        if self.framing == "chunked":
            headers = {**headers, "transfer-encoding": "chunked"}
        elif self.framing == "close":
            headers = {**headers, "connection": "close"}
        self.writer.write(_head(status, headers, reason))
        await self.writer.drain()

    async def write(self, data: bytes) -> None:
        if self.writer.transport.is_closing():
            raise _ClosedError
        if data:
            self.writer.write(b"%x\r\n%b\r\n" % (len(data), data) if self.framing == "chunked" else data)
            await self.writer.drain()

    async def end(self) -> None:
        if self.framing == "chunked":
            self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()


class OpenAIWire:
    """chat.completions."""

    headers = {"x-request-id": "req_loopback"}

    def refusal(self, body: Any) -> Script | None:
        """Return the answer to a request that the API rejects for its tools."""
        problem = tool_pairs.problem_with_messages(body)
        return (
            Script(status=400, body={"error": {"type": "invalid_request_error", "message": problem}})
            if problem
            else None
        )

    def opening(self, script: Script) -> bytes:
        return self._chunk({"role": "assistant", "content": ""})

    def reasoning(self, text: str) -> bytes:
        return self._chunk({"reasoning_content": text})

    def delta(self, text: str) -> bytes:
        return self._chunk({"content": text})

    def tool_call(self, index: int, name: str, arguments: str) -> bytes:
        function = {"name": name, "arguments": ""}
        first = {"index": index, "id": f"call_{index}", "type": "function", "function": function}
        second = {"index": index, "function": {"arguments": arguments}}
        return self._chunk({"tool_calls": [first]}) + self._chunk({"tool_calls": [second]})

    def closing(self, script: Script) -> list[bytes]:
        finish = self._finish(script)
        frames = [self._chunk({}, finish)] if finish else []
        if script.usage:
            frames.append(_event(self._envelope([], usage=_openai_usage(script.usage))))
        return [*frames, b"data: [DONE]\n\n"]

    def ping(self) -> bytes:
        return b": ping\n\n"

    def error(self, payload: dict[str, Any] | None) -> bytes:
        return _event({"error": payload or {"message": "secret words", "type": "server_error"}})

    def whole(self, script: Script) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": script.text}
        if script.reasoning:
            message["reasoning_content"] = "".join(script.reasoning)
        if script.tool_calls:
            message["tool_calls"] = [
                {"id": f"call_{index}", "function": {"name": name, "arguments": arguments}}
                for index, (name, arguments) in enumerate(script.tool_calls)
            ]
        choice = {"index": 0, "message": message, "finish_reason": self._finish(script)}
        usage = {"usage": _openai_usage(script.usage)} if script.usage else {}
        return {"id": "chatcmpl-loopback", "object": "chat.completion", "choices": [choice], **usage}

    def _finish(self, script: Script) -> str:
        return ("tool_calls" if script.tool_calls else "stop") if script.finish is None else script.finish

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        return _event(self._envelope([{"index": 0, "delta": delta, "finish_reason": finish}]))

    def _envelope(self, choices: list[Any], **more: Any) -> dict[str, Any]:
        head = {"id": "chatcmpl-loopback", "object": "chat.completion.chunk", "model": "loopback"}
        return {**head, "choices": choices, **more}


class AnthropicWire:
    """Anthropic's messages. The text is the block after reasoning, tool calls are the blocks after it."""

    headers = {"request-id": "req_loopback"}

    def refusal(self, body: dict[str, Any]) -> Script | None:
        """Return the answer to a request that the API rejects for its texts or its tools."""
        if problem := tool_pairs.problem_with_blocks(body):
            return self._invalid(problem)
        texts = [text for turn in body["messages"] for text in texts_in(turn["content"])]
        if not all(text.strip() for text in [*texts, text_in(body.get("system", "x"))]):
            return self._invalid("messages: text content blocks must contain non-whitespace text")
        if body["messages"][-1]["role"] == "user":
            return None
        if _NO_PREFILL.search(body["model"]):
            return self._invalid("This model does not support assistant message prefill.")
        if texts[-1] != texts[-1].rstrip():
            return self._invalid("messages: final assistant content cannot end with trailing whitespace")
        return None

    def opening(self, script: Script) -> bytes:
        tokens = script.usage[0] if script.usage else 0
        message = {**self._message, "content": [], "usage": {"input_tokens": tokens, "output_tokens": 1}}
        start = self._event("message_start", message=message)
        if script.reasoning:
            return start
        return start + self._start(0, {"type": "text", "text": ""})

    def reasoning(self, text: str) -> bytes:
        return (
            self._start(0, {"type": "thinking", "thinking": ""})
            + self._delta(0, {"type": "thinking_delta", "thinking": text})
            + self._event("content_block_stop", index=0)
        )

    def delta(self, text: str) -> bytes:
        return self._delta(0, {"type": "text_delta", "text": text})

    def tool_call(self, index: int, name: str, arguments: str) -> bytes:
        block = {"type": "tool_use", "id": f"call_{index}", "name": name, "input": {}}
        return (
            self._start(index + 1, block)
            + self._delta(index + 1, {"type": "input_json_delta", "partial_json": arguments})
            + self._event("content_block_stop", index=index + 1)
        )

    def closing(self, script: Script) -> list[bytes]:
        frames = [self._event("content_block_stop", index=0)]
        if finish := self._finish(script):
            usage = {"output_tokens": script.usage[1]} if script.usage else {}
            delta = {"stop_reason": finish, "stop_sequence": None}
            frames.append(self._event("message_delta", delta=delta, usage=usage))
        return [*frames, self._event("message_stop")]

    def ping(self) -> bytes:
        return self._event("ping")

    def error(self, payload: dict[str, Any] | None) -> bytes:
        return self._event("error", error=payload or {"type": "api_error", "message": "secret words"})

    def whole(self, script: Script) -> dict[str, Any]:
        content: list[dict[str, Any]] = [{"type": "thinking", "thinking": text} for text in script.reasoning]
        content.append({"type": "text", "text": script.text})
        content += [
            {"type": "tool_use", "id": f"call_{index}", "name": name, "input": json.loads(arguments)}
            for index, (name, arguments) in enumerate(script.tool_calls)
        ]
        tokens = dict(zip(("input_tokens", "output_tokens"), script.usage or (0, 0), strict=True))
        return {**self._message, "content": content, "stop_reason": self._finish(script), "usage": tokens}

    def _invalid(self, message: str) -> Script:
        error = {"type": "invalid_request_error", "message": message}
        return Script(status=400, body={"type": "error", "error": error})

    _message = {"id": "msg_loopback", "type": "message", "role": "assistant", "model": "loopback"}

    def _finish(self, script: Script) -> str:
        return ("tool_use" if script.tool_calls else "end_turn") if script.finish is None else script.finish

    def _start(self, index: int, block: dict[str, Any]) -> bytes:
        return self._event("content_block_start", index=index, content_block=block)

    def _delta(self, index: int, delta: dict[str, Any]) -> bytes:
        return self._event("content_block_delta", index=index, delta=delta)

    def _event(self, kind: str, **more: Any) -> bytes:
        return f"event: {kind}\n".encode() + _event({"type": kind, **more})


def unused_port() -> int:
    """Return a port of 127.0.0.1 that refuses connections."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def blocks(raw: bytes) -> list[bytes]:
    """Return a recorded stream as its blocks, each with the blank line that ends it."""
    ends = [match.end() for match in _BLOCK_END.finditer(raw)]
    if not ends or ends[-1] < len(raw):
        ends.append(len(raw))
    return [raw[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _content_type(script: Script, default: str) -> dict[str, str]:
    return {} if script.content_type is None else {"content-type": script.content_type or default}


def wire_headers(wire: Any) -> dict[str, str]:
    """Return the headers that a provider of this wire format sends."""
    return wire.headers if wire else {}


def _wire(path: str) -> Any:
    if path.partition("?")[0].endswith("/chat/completions"):
        return OpenAIWire()
    if path.partition("?")[0].endswith("/messages"):
        return AnthropicWire()
    if path.partition("?")[0].endswith("/responses"):
        from .responses_wire import ResponsesWire

        return ResponsesWire()
    return None


def _frames(script: Script, wire: Any) -> Any:
    """Return the frames up to the fault, as a list, or an iterator that never ends."""
    frames = _clean_frames(script, wire)
    if script.fault == "endless":
        return _endless(script, frames)
    frames = _with_fault(script, frames, wire)
    if script.crlf:
        frames = [Frame(frame.data.replace(b"\n", b"\r\n"), frame.delta) for frame in frames]
    if script.bom and frames:
        frames[0].data = b"\xef\xbb\xbf" + frames[0].data
    return frames


def _clean_frames(script: Script, wire: Any) -> list[Frame]:
    if script.raw is not None:
        return [Frame(block) for block in blocks(script.raw)]
    frames = []
    lead = wire.opening(script) + b"".join(wire.reasoning(text) for text in script.reasoning)
    if script.reasoning and isinstance(wire, AnthropicWire):
        lead += wire._start(0, {"type": "text", "text": ""})
    for delta in script.deltas:
        lead += wire.ping() if script.pings else b""
        frames.append(Frame(lead + wire.delta(delta), delta))
        lead = b""
    calls = [wire.tool_call(index, *call) for index, call in enumerate(script.tool_calls)]
    return frames + [Frame(data) for data in [lead, *calls, *wire.closing(script)] if data]


def _endless(script: Script, frames: list[Frame]) -> Iterator[Frame]:
    with_text = [frame for frame in frames if frame.delta is not None]
    yield with_text[0]
    opening = with_text[0].data
    again = [Frame(opening[opening.rfind(b"\n\n", 0, -2) + 2 :], with_text[0].delta), *with_text[1:]]
    while True:
        yield from again[1:]
        yield again[0]


def _with_fault(script: Script, frames: list[Frame], wire: Any) -> list[Frame]:
    if not script.fault:
        return frames
    at = max(script.after, 0)
    if script.fault == "error":
        return [*frames[:at], Frame(wire.error(script.error))]
    if script.fault == "bad_json":
        return [*frames[:at], Frame(b'data: {"choices": [{"delta": \n\n'), *frames[at:]]
    if script.fault == "bad_utf8":
        return [*frames[:at], Frame(wire.delta("?").replace(b"?", b"\xff\xfe")), *frames[at:]]
    return frames[:at]


def _pieces(data: bytes, script: Script) -> list[bytes]:
    if script.writes == "whole":
        return [data]
    if script.writes == "random":
        rng = random.Random(script.seed)
        cuts = sorted(rng.sample(range(len(data) + 1), min(len(data), 1 + len(data) // 40)))
    else:
        cuts = sorted(script.writes)
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True) if end > start]


def _head(status: int, headers: dict[str, str], reason: str = "OK") -> bytes:
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8")


def _event(payload: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(payload, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


def _openai_usage(usage: tuple[int, int]) -> dict[str, int]:
    return {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return {}


def _last_text(body: Any) -> str:
    messages = (body.get("messages") or body.get("input")) if isinstance(body, dict) else None
    return text_in(messages[-1].get("content", "")) if messages else ""


def texts_in(content: Any) -> list[str]:
    """Return the texts of a message's content."""
    if not isinstance(content, list):
        return [content or ""]
    return [part["text"] for part in content if part["type"] == "text"]


def text_in(content: Any) -> str:
    """Return the text of a message's content, which is a string or a list of blocks."""
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return content or ""
