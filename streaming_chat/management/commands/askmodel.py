"""Ask each configured model for one word, and print what it answered, how long it took, and what it was sent."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from streaming_chat.conf import conf
from streaming_chat.exceptions import ProviderError
from streaming_chat.logs import one_line, without_controls
from streaming_chat.protocol import endings, events
from streaming_chat.protocol.events import REASONING, Event
from streaming_chat.providers import get_provider, split_model
from streaming_chat.providers.base import Prompt, Provider, ProviderStream, Turn
from streaming_chat.providers.model_options import options_of
from streaming_chat.providers.thinking import unopened_tag

_QUESTION = "Say hello in one word."
# What of a request's body is not shown: the question, which is the same for all.
_PROMPT_KEYS = ("messages", "input")
_SECRET = re.compile(r"key|token\b|secret|password|authorization|credential", re.IGNORECASE)


class Answer:
    """What a model has said so far. Times are in seconds, from the beginning of the request."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.stream: ProviderStream | None = None
        self.first: float | None = None
        self.total = 0.0
        self._began = time.monotonic()

    @property
    def text(self) -> str:
        return events.text_of(self.events)

    async def receive(self, provider: Provider, prompt: Prompt) -> None:
        """Raises ProviderError, and what a site's own provider raises."""
        self._began = time.monotonic()
        try:
            self.stream = provider.stream(prompt)
            async with self.stream as stream:
                while (received := await stream.read()) is not None:
                    if received and self.first is None:
                        self.first = time.monotonic() - self._began
                    self.events += received
        finally:
            self.total = time.monotonic() - self._began

    def failure(self) -> str:
        """Return why this is no answer, "" if it is one."""
        usage = self.stream.usage if self.stream else None
        ending = endings.completed(self.stream.end_reason if self.stream else "stop", received=bool(self.events))
        return endings.checked(ending, self.events, reasoning_tokens=usage and usage.reasoning_tokens).error_code

    def lines(self) -> list[tuple[str, str]]:
        """Return what to print of it."""
        reasoning = sum(len(event.payload) for event in self.events if event.kind == REASONING)
        usage = self.stream.usage if self.stream else None
        counts = [
            f"{name} {number}" for name, number in (usage._asdict() if usage else {}).items() if number is not None
        ]
        first = "none" if self.first is None else f"{self.first:.2f} s"
        return [
            *([("answer", one_line(self.text.strip()))] if self.text else []),
            *([("reasoning", f"{reasoning} characters")] if reasoning else []),
            *([("time", f"first token {first}, total {self.total:.2f} s")] if self.stream else []),
            *([("usage", ", ".join(counts))] if counts else []),
        ]


class Command(BaseCommand):
    """Uses the network and costs a few tokens for each model. It stores nothing."""

    help = (
        "Asks each model in STREAMING_CHAT_MODELS for one word, and prints the answer, the times and what the model was"
        " sent, without keys. Exits with 1 if a model failed, and says why."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the models, and --timeout."""
        parser.add_argument("models", nargs="*", metavar="alias:model", help="Ask these instead of all.")
        parser.add_argument(
            "--timeout", type=float, default=60.0, metavar="SECONDS", help="How long each may take (default: 60)."
        )

    def handle(self, *args: Any, models: list[str], timeout: float, **options: Any) -> None:
        """Print some lines for each model."""
        names = models or self._configured()
        failed = asyncio.run(self._ask_all(names, timeout))
        if failed:
            raise CommandError(f"{failed} of {len(names)} models failed.")

    def _configured(self) -> list[str]:
        """Return the models to ask. A wildcard names none."""
        names = [name for name in conf.STREAMING_CHAT_MODELS if not name.endswith(":*")]
        for name in conf.STREAMING_CHAT_MODELS:
            if name not in names:
                self.stderr.write(f"{name} is not asked: name a model of it, as alias:model.")
        if not names:
            raise CommandError("there is no model to ask.")
        return names

    async def _ask_all(self, names: list[str], seconds: float) -> int:
        """Ask the models, one after another, and return how many failed."""
        return sum([not await self._ask(name, seconds) for name in names])

    async def _ask(self, name: str, seconds: float) -> bool:
        """Ask a model, print what came, and return whether it answered."""
        answer, sent = Answer(), {}
        self.stdout.write(name)
        try:
            provider, prompt = _prepared(name)
            sent = _sent(provider, prompt)
            # The first import of an SDK is not the model's time.
            provider.prepare()
            async with asyncio.timeout(seconds):
                await answer.receive(provider, prompt)
            reason = answer.failure()
        except Exception as error:  # noqa: BLE001  (a site's own provider may raise anything; the other models are asked)
            reason = _reason(error, seconds)
        self._print([("FAILED", reason)] if reason else [], self.style.ERROR)
        self._print([*answer.lines(), *_shown(sent)])
        if tag := unopened_tag(answer.text):
            self._print([("hint", f'there is a {tag} that nothing opens: set "think_tags": "unopened" for this model')])
        return not reason

    def _print(self, lines: list[tuple[str, str]], style: Any = str) -> None:
        for label, text in lines:
            self.stdout.write(f"  {label:<10} {without_controls(text)}", style)


def _prepared(name: str) -> tuple[Provider, Prompt]:
    """Return what asks a model. Raises ImproperlyConfigured, and what the provider's constructor raises."""
    alias, model = split_model(name)
    if not alias or not model:
        raise ImproperlyConfigured(f"a model is named alias:model, got {name!r}")
    provider = get_provider(alias)
    options = options_of(name, provider.max_output_tokens)
    return provider, Prompt(model=model, turns=(Turn("user", _QUESTION),), options=options)


def _sent(provider: Provider, prompt: Prompt) -> dict[str, Any]:
    """Return what can be shown of a request: the parameters without secrets, and the names of the site's headers."""
    parameters = {key: value for key, value in provider.parameters(prompt).items() if key not in _PROMPT_KEYS}
    return {"sent": _without_secrets(parameters), "headers": sorted(prompt.options.headers)}


def _without_secrets(value: Any, name: str = "") -> Any:
    if isinstance(value, Mapping):
        return {key: _without_secrets(item, str(key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_secrets(item) for item in value]
    return "…" if isinstance(value, str) and _SECRET.search(name) else value


def _shown(sent: dict[str, Any]) -> list[tuple[str, str]]:
    return [(label, json.dumps(value, ensure_ascii=False)) for label, value in sent.items() if value]


def _reason(error: Exception, seconds: float) -> str:
    """Return why a model did not answer, in one line."""
    if isinstance(error, ProviderError):
        status = f"status {error.status}" if error.status else ""
        request = f"request {error.request_id}" if error.request_id else ""
        return ", ".join(filter(None, (error.code, status, error.detail, request, error.message)))
    if isinstance(error, TimeoutError):
        return f"no complete answer within {seconds:g} s"
    if isinstance(error, ImproperlyConfigured | TypeError | ValueError):
        return f"{type(error).__name__}: {error}"
    # The message of an unknown error may show a secret option.
    return type(error).__name__
