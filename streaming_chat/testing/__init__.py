"""For a site's own tests: a provider whose replies are scripted, and a reader of streams. No sockets, no keys.

    with scripted_provider(Script(["Hel", "lo"])) as provider:
        response = self.client.post("/chat/api/messages", {"content": "Hi"}, content_type="application/json")

        assert read_stream(response).text == "Hello"
        assert provider.calls[0].prompt.turns == (Turn("user", "Hi"),)

docs/testing.md says more.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, Unpack, cast

from django.core.serializers.json import DjangoJSONEncoder
from django.test.utils import TestContextDecorator, override_settings

from streaming_chat.engine import outages
from streaming_chat.engine.follower import follower
from streaming_chat.engine.runner import runner
from streaming_chat.engine.writer import writer
from streaming_chat.exceptions import ProviderError
from streaming_chat.protocol.events import REASONING, TEXT, TOOL_CALL, Event
from streaming_chat.providers import get_provider
from streaming_chat.providers.base import Prompt, Provider, ProviderOptions, ProviderStream, Turn, Usage

from .conformance import Exchange, ProviderConformance
from .streams import (
    Frame,
    Streamed,
    answer_calls,
    aread_stream,
    aread_until_waiting,
    leave_stream,
    read_stream,
    read_until_waiting,
)
from .tools import ToolOutcome, acall_tool, call_tool, toolbox

__all__ = [
    "Exchange",
    "Frame",
    "Gate",
    "ProviderConformance",
    "Script",
    "ScriptedCall",
    "ScriptedProvider",
    "Streamed",
    "ToolOutcome",
    "Turn",
    "acall_tool",
    "answer_calls",
    "aread_stream",
    "aread_until_waiting",
    "call_tool",
    "leave_stream",
    "read_stream",
    "read_until_waiting",
    "scripted_provider",
    "wait_until_saved",
]

MODEL = "scripted:model"
# Seconds after which a wait fails its test.
_PATIENCE_SECONDS = 10.0


class Gate:
    """Holds replies at one delta until it is opened; any thread may wait for it and open it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reached = threading.Event()
        self._is_open = False
        self._held: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def open(self) -> None:
        """Let every reply that stands here, and that comes here, go on."""
        with self._lock:
            self._is_open = True
            held, self._held = self._held, []
        for loop, event in held:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    def wait_reached(self, seconds: float = _PATIENCE_SECONDS) -> None:
        """Return once a reply stands here. Raises AssertionError after so many seconds."""
        if not self._reached.wait(seconds):
            raise AssertionError(f"no reply reached the gate within {seconds} s.")

    async def until_reached(self, seconds: float = _PATIENCE_SECONDS) -> None:
        """Do the same in an async test."""
        await asyncio.to_thread(self.wait_reached, seconds)

    async def hold(self) -> None:
        """Wait here: the provider's side."""
        event = asyncio.Event()
        with self._lock:
            if self._is_open:
                event.set()
            else:
                self._held.append((asyncio.get_running_loop(), event))
        self._reached.set()
        await event.wait()


@dataclass(kw_only=True)
class Script:
    """One reply of a model.

    deltas: the text, piece by piece; a string is one piece. reasoning: pieces before it. tool_calls: (name, arguments)
    pairs after it; the arguments are an object, or JSON text, valid or not. error: a code of
    streaming_chat.exceptions.ERRORS, with which the provider fails after all that; a retryable one before the first piece
    is retried. pause: seconds before each delta. gates: number of a delta -> the gate before it; len(deltas) is before the
    end. end_reason: stop, length, content_filter or tool_calls.
    """

    deltas: str | Sequence[str] = field(default=("Hello", ", ", "world"), kw_only=False)
    reasoning: Sequence[str] = ()
    tool_calls: Sequence[tuple[str, Mapping[str, Any] | str]] = ()
    error: str = ""
    retryable: bool = False
    retry_after: float | None = None
    pause: float = 0.0
    gates: Mapping[int, Gate] = field(default_factory=dict)
    end_reason: str = "stop"
    usage: Usage | None = Usage(input_tokens=7, output_tokens=4)  # noqa: RUF009  (a tuple: nothing can change it)
    request_id: str = "req_scripted"

    @property
    def pieces(self) -> list[str]:
        """The deltas as a list."""
        return [self.deltas] if isinstance(self.deltas, str) else list(self.deltas)

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.deltas)


class ScriptedCall:
    """One call of the provider. opened, ended: whether the run opened it, and left it; whole: whether it read all."""

    def __init__(self, prompt: Prompt, script: Script) -> None:
        self.prompt = prompt
        self.script = script
        self.opened = self.ended = self.whole = False


class ScriptedProvider(Provider):
    """A provider BACKEND whose OPTIONS are the replies: `scripts`, each used once, in order, then `default`."""

    takes_tools = True

    def __init__(
        self,
        alias: str,
        *,
        scripts: Iterable[Script] = (),
        default: Script | None = None,
        **options: Unpack[ProviderOptions],
    ) -> None:
        super().__init__(alias, **options)
        self.default = default or Script()
        self.calls: list[ScriptedCall] = []
        self._scripts = list(scripts)
        self._lock = threading.Lock()

    def script(self, *scripts: Script) -> None:
        """Add replies for the next calls."""
        with self._lock:
            self._scripts.extend(scripts)

    def sends_output(self, prompt: Prompt) -> bool:
        """A test sees the output in the prompt."""
        return True

    def stream(self, prompt: Prompt) -> ProviderStream:
        """Return the next scripted reply."""
        with self._lock:
            call = ScriptedCall(prompt, self._scripts.pop(0) if self._scripts else self.default)
            self.calls.append(call)
        return _ScriptedStream(call)


class _ScriptedStream(ProviderStream):
    def __init__(self, call: ScriptedCall) -> None:
        self._call = call
        self._steps = self._play()

    async def __aenter__(self) -> Self:
        self._call.opened = True
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._call.ended = True

    async def read(self) -> list[Event] | None:
        return await anext(self._steps, None)

    async def _play(self) -> Any:
        script = self._call.script
        for text in script.reasoning:
            yield [Event(REASONING, text)]
        for number, piece in enumerate(script.pieces):
            await self._hold(number)
            await asyncio.sleep(script.pause)
            yield [Event(TEXT, piece)]
        await self._hold(len(script.pieces))
        for number, (name, arguments) in enumerate(script.tool_calls):
            text = arguments if isinstance(arguments, str) else json.dumps(arguments, cls=DjangoJSONEncoder)
            call = {"id": f"call_{number}", "name": name, "arguments": text, "complete": True}
            yield [Event(TOOL_CALL, call)]
        self.request_id = script.request_id
        if script.error:
            raise ProviderError(
                script.error,
                retryable=script.retryable,
                retry_after=script.retry_after,
                request_id=script.request_id,
                detail="scripted",
            )
        self.end_reason = self.finish_reason = script.end_reason
        self.usage = script.usage
        self._call.whole = True

    async def _hold(self, number: int) -> None:
        if gate := self._call.script.gates.get(number):
            await gate.hold()


class scripted_provider(TestContextDecorator):  # noqa: N801  (used like override_settings)
    """Make the scripted provider the only one, `scripted:model` the default model, for a test.

    A context manager, which gives the ScriptedProvider; a decorator of a method, which gets it as `provider`; a decorator
    of a TestCase, whose tests get a new one each as `self.provider`. scripts, default: as in ScriptedProvider.
    tools: names of toolboxes in STREAMING_CHAT_TOOLS, whose tools the model has. results: by the name of a tool, what it
    returns, or raises, in place of being called; a tool of that name need not exist. With one of both, a test must not be
    inside a transaction: ValueError. settings: further STREAMING_CHAT_* settings, or any others.
    """

    def __init__(
        self,
        *scripts: Script,
        default: Script | None = None,
        tools: Sequence[str] = (),
        results: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(attr_name="provider", kwarg_name="provider")
        self._scripts = scripts
        self._default = default
        self._tools = tools
        self._results = results or {}
        self._settings = settings

    def enable(self) -> ScriptedProvider:
        """Begin. The provider that is returned is the one that the views will find."""
        options = {"scripts": self._scripts, "default": self._default}
        backend = f"{ScriptedProvider.__module__}.{ScriptedProvider.__qualname__}"
        chosen: dict[str, Any] = {
            "STREAMING_CHAT_PROVIDERS": {"scripted": {"BACKEND": backend, "OPTIONS": options}},
            "STREAMING_CHAT_MODELS": [MODEL],
            # It would be asked, too, and take a script.
            "STREAMING_CHAT_TITLE_MODEL": "",
        }
        if self._tools or self._results:
            chosen |= toolbox.begin(MODEL, self._tools, self._results)
        self._override = override_settings(**{**chosen, **self._settings})
        self._override.enable()
        # Of an earlier test, whose model would be asked last.
        outages.forget()
        return cast(ScriptedProvider, get_provider("scripted"))

    def disable(self) -> None:
        """End."""
        self._override.disable()
        if self._tools or self._results:
            toolbox.end()


def wait_until_saved(seconds: float = _PATIENCE_SECONDS) -> None:
    """Return once every reply of this process has ended, or waits, and is saved; and close the threads' connections.

    For the end of a TransactionTestCase's tests: an open connection keeps the test database from being dropped.
    Raises AssertionError after so many seconds.
    """
    deadline = time.monotonic() + seconds
    while runs := runner.live:
        if time.monotonic() > deadline:
            raise AssertionError(f"reply {runs[0].message_id} did not end within {seconds} s.")
        writer.save_in_transaction()
        runs[0].ended.wait(0.05)
    if not writer.wait_until_idle(max(deadline - time.monotonic(), 0)):
        raise AssertionError(f"the writer was not idle within {seconds} s.")
    if not follower.wait_until_idle(max(deadline - time.monotonic(), 0)):
        raise AssertionError(f"a reply that waits was still read after {seconds} s: read it by read_until_waiting.")
