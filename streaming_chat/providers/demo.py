"""A provider without a model: scripted Markdown, so that everything can be tried without a key or a network.

The message chooses the reply: the word "long", "error", "fail", "think", "tool", "source", "table" or "code" in it; "cut",
"filter", "blank" or "budget" for the other ways in which a reply can end; "pause 20", which is silent for 20 seconds;
otherwise the model does: "thinker" reasons first, as much as its effort says, "librarian" cites sources, and any other has
one of a few short replies. If a reply must be an object, it is an example of one. If the model has tools, the message calls
those whose names have a word of it, with example arguments; "tool" calls the first.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from types import TracebackType
from typing import Any, Self, Unpack

from streaming_chat.exceptions import ProviderError
from streaming_chat.protocol.events import REASONING, SOURCE, TEXT, TOOL_CALL, Event, source
from streaming_chat.protocol.storable_text import storable_value

from .base import Prompt, Provider, ProviderOptions, ProviderStream
from .demo_output import example_of
from .finish_reasons import meaning_of
from .tools import Tools

WORDS_PER_SECOND = 30.0

# A script is a sequence of steps. Each is a mapping with one of the keys in STEPS.
Step = Mapping[str, Any]
STEPS = frozenset({"text", "reasoning", "tool_call", "source", "pause", "error", "finish"})

GREETING = """\
## This is a demo

I am the **built-in demo** of streaming_chat: there is no model behind me, only a script. What you see is \
real, though:

- the reply streams in, word by word
- you can *stop* it, reload the page in the middle, or open it in a second tab
- it is saved as it comes, and staff can read it as a transcript

Say `long`, `table`, `code`, `think`, `source`, `tool` or `error` to see other replies. To talk to a model, set \
`OPENAI_API_KEY` or `ANTHROPIC_API_KEY` and start me again.
"""

LISTS = """\
I am a built-in demo with no model behind me, so I cannot answer that. Here is a list instead:

1. **Send** a message while nothing else is being written.
2. **Stop** the reply when you have seen enough; what came is kept.
3. **Ask again** for another version of the same reply.

> Every word of this was written beforehand.
"""

QUESTION = """\
You wrote {words} to a built-in demo, which has no model behind it and understands none of them.

### What I can do

Stream text with *emphasis*, `code`, [links](https://www.djangoproject.com/) and characters such as é, 漢字 \
and 🦜 without losing one.
"""

TABLE = """\
A table, from the built-in demo (no model was asked):

| Ending | When |
|---|---|
| completed | the script came to its end |
| stopped | you pressed Stop |
| interrupted | something broke in the middle |
| failed | something broke before the first word |

Four rows, two columns.
"""

CODE = """\
Some code, from the built-in demo (no model was asked):

```python
async def hello(names: list[str]) -> None:
    for name in names:
        print(f"Hello, {name}!")
        await asyncio.sleep(0.1)
```

It greets everybody, one at a time.
"""

LONG = """\
### Part {number}

This is part {number} of {parts} of a long reply by the built-in demo; no model is behind it, only this \
paragraph, again and again. It is here so that you can stop it in the middle, reload the page, leave and come \
back, and find every word where it belongs: none lost, none twice.

"""
LONG_PARTS = 20

THOUGHT = """\
The message asks for thinking. I am a script, so this is not thought, but it is shown where a model's
reasoning is.
"""

CITED = """\
The built-in demo cites three sources, which nobody has looked up for this: how browsers receive a stream, how \
Django serves one, and a book that has no address. They are listed below, numbered in the order in which they came.
"""
SOURCES: list[dict[str, str]] = [
    {
        "url": "https://html.spec.whatwg.org/multipage/server-sent-events.html",
        "title": "HTML Standard: Server-sent events",
        "text": "This enables servers to push data to web pages over HTTP",
    },
    {"url": "https://docs.djangoproject.com/en/stable/topics/async/", "title": "Django: Asynchronous support"},
    {"url": "", "title": "A book on the demo's shelf"},
]

CALLS = "The built-in demo calls a tool of this site, as a model would."
RESULTS = "The tools have returned this to the built-in demo, which does not understand it:"
MOST_RESULT_CHARS = 500

PAUSE_BEFORE = "The built-in demo is silent now"
PAUSE_AFTER = ", and speaks again."

SHORT_REPLIES = (GREETING, LISTS, QUESTION)
# How often the model "thinker" thinks its thought.
_THOUGHTS = {"none": 0, "minimal": 1, "low": 1, "medium": 2, "high": 4, "xhigh": 6, "max": 8}


class DemoProvider(Provider):
    """Scripted replies, which say that they are scripted.

    words_per_second: The speed of a reply; 0 for no pauses.
    script: The steps of every reply, instead of the one that the message chooses. A step is a mapping with one key: `text`
        and `reasoning` are streamed word by word, `tool_call` is a mapping with `name` and `arguments` (JSON text),
        `source` is a mapping with `url` and `title`, and with `id` and `text` if there are any, `pause` is seconds, `error`
        is an error code that ends the reply, and `finish` ends it with this finish reason instead of `"stop"`. Steps after
        that are for a continuation.
    """

    takes_tools = True

    def __init__(
        self,
        alias: str,
        *,
        words_per_second: float = WORDS_PER_SECOND,
        script: Sequence[Step] | None = None,
        **options: Unpack[ProviderOptions],
    ) -> None:
        super().__init__(alias, **options)
        self.words_per_second = words_per_second
        self.script = None if script is None else [_checked(step) for step in script]

    def prefills(self, model: str) -> bool:
        return True

    def problem_with_tools(self, model: str, tools: Tools) -> str:
        return "The demo cannot be given tools by a client."

    def sends_output(self, prompt: Prompt) -> bool:
        return True

    def stream(self, prompt: Prompt) -> DemoStream:
        return DemoStream(prompt, self.words_per_second, self.script)


class DemoStream(ProviderStream):
    """One scripted reply. Its usage is None, since nothing counts tokens."""

    def __init__(self, prompt: Prompt, words_per_second: float, script: Sequence[Step] | None) -> None:
        self.prompt = prompt
        self._pause = 1 / words_per_second if words_per_second > 0 else 0.0
        self._script = script
        self._events: Iterator[Event | float] = iter(())
        self._due = 0.0
        self._failure: ProviderError | None = None

    async def __aenter__(self) -> Self:
        prompt, so_far = _without_prefill(self.prompt)
        script = script_for(prompt) if self._script is None else self._script
        self._events = self._play(script)
        if so_far:
            # What made it end too early does not happen again.
            script = [step for step in script if not step.keys() & {"error", "finish"}]
            self._events = _after(self._play(script), so_far)
        self._due = asyncio.get_running_loop().time()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._events = iter(())

    async def read(self) -> list[Event] | None:
        for event in self._events:
            if isinstance(event, Event):
                await self._wait(self._pause)
                return [event]
            await self._wait(event)
        if self._failure is not None:
            raise copy(self._failure)
        self.finish_reason = self.finish_reason or "stop"
        return None

    async def _wait(self, seconds: float) -> None:
        """Sleep until the next word is due, by the clock, so that a busy event loop does not slow down the reply."""
        loop = asyncio.get_running_loop()
        self._due = max(self._due + seconds, loop.time() - 1)
        await asyncio.sleep(max(self._due - loop.time(), 0))

    def _play(self, script: Sequence[Step]) -> Iterator[Event | float]:
        for step in script:
            for kind, value in step.items():
                if kind in (TEXT, REASONING):
                    yield from self._say(kind, value)
                elif kind == TOOL_CALL:
                    yield _tool_call(value)
                elif kind == SOURCE:
                    yield source(**storable_value(dict(value)))
                elif kind == "pause":
                    yield float(value)
                elif kind == "finish":
                    self._finish(value)
                    return
                else:
                    self._failure = ProviderError(value, detail="scripted")
                    return

    def _say(self, kind: str, text: str) -> Iterator[Event]:
        for word in words(text):
            yield Event(kind, word)

    def _finish(self, word: str) -> None:
        meaning = meaning_of(word)
        self.finish_reason = word
        self.end_reason = meaning.end_reason or "stop"
        self._failure = None if meaning.end_reason else ProviderError(meaning.error_code, detail="scripted")


def script_for(prompt: Prompt) -> list[Step]:
    """Return the steps that the last message chooses, or an object if that is what the reply must be."""
    if prompt.output:
        return [{"text": json.dumps(example_of(prompt.output.schema), ensure_ascii=False, indent=2)}]
    if prompt.turns and (results := prompt.turns[-1].results):
        return _after_tools(results)
    text = prompt.turns[-1].text if prompt.turns else ""
    if prompt.tools and (called := _called(prompt.tools, text)):
        return _calls(called)
    if pause := re.search(r"\bpause (\d{1,3})\b", text.lower()):
        return [{"text": PAUSE_BEFORE}, {"pause": int(pause[1])}, {"text": PAUSE_AFTER}]
    asked = set(re.findall(r"\w+", text.lower()))
    for word, script in SCRIPTS.items():
        if word in asked:
            return script
    if prompt.model == "librarian":
        return SCRIPTS["source"]
    reply = _short_reply(prompt, text)
    if prompt.model == "thinker" and (times := _THOUGHTS[prompt.options.effort or "medium"]):
        return [{"reasoning": "\n".join([THOUGHT] * times)}, *reply]
    return reply


def _called(tools: Tools, text: str) -> list[Mapping[str, Any]]:
    """Return the tools that a message calls."""
    asked = set(re.findall(r"\w{4,}", text.lower()))
    named = [tool for tool in tools.functions if asked & {tool["name"].lower(), *tool["name"].lower().split("_")}]
    return named or [*tools.functions[:1]] * ("tool" in asked)


def _calls(tools: Sequence[Mapping[str, Any]]) -> list[Step]:
    calls: list[Step] = []
    for number, tool in enumerate(tools):
        given = json.dumps(example_of(tool["parameters"]), ensure_ascii=False)
        calls.append({"tool_call": {"id": f"demo_{number}", "name": tool["name"], "arguments": given}})
    return [{"text": CALLS}, *calls, {"finish": "tool_calls"}]


def _after_tools(results: Sequence[Mapping[str, Any]]) -> list[Step]:
    lines = [f"- {' '.join(result['text'][:MOST_RESULT_CHARS].split())}" for result in results]
    return [{"text": "\n".join([RESULTS, "", *lines])}]


def _short_reply(prompt: Prompt, text: str) -> list[Step]:
    number = len(text.split())
    reply = SHORT_REPLIES[_choice(prompt, text)]
    return [{"text": reply.replace("{words}", f"{number} word{'' if number == 1 else 's'}")}]


def words(text: str) -> list[str]:
    """Return the words of a text, each with the space before it. Joined, they are the text."""
    return re.findall(r"\s*\S+(?:\s+$)?|\s+$", text)


def _without_prefill(prompt: Prompt) -> tuple[Prompt, str]:
    """Return the prompt to the user's last message, and the text of the reply that continues; "" for a new reply."""
    if not prompt.turns or prompt.turns[-1].role == "user":
        return prompt, ""
    return prompt.replace(turns=prompt.turns[:-1]), prompt.turns[-1].text


def _after(events: Iterable[Event | float], so_far: str) -> Iterator[Event | float]:
    """Yield the events that follow a text."""
    for event in events:
        if not so_far:
            yield event
        elif isinstance(event, Event) and event.kind == TEXT:
            rest = event.payload.removeprefix(so_far)
            so_far = so_far.removeprefix(event.payload) if rest == event.payload else ""
            if rest and not so_far:
                yield Event(TEXT, rest)


def _choice(prompt: Prompt, text: str) -> int:
    """The first reply introduces itself; later ones depend on the message."""
    if len(prompt.turns) <= 1:
        return 0
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()[0] % len(SHORT_REPLIES)


def _tool_call(value: Mapping[str, Any]) -> Event:
    call = {"id": "demo", "name": "", "arguments": "{}", "complete": True}
    return Event(TOOL_CALL, {**call, **storable_value(dict(value))})


def _checked(step: Step) -> Step:
    """Return the step. Raises ValueError if it is not a step of a script."""
    if not isinstance(step, Mapping) or len(step) != 1 or not STEPS.issuperset(step):
        raise ValueError(f"a step is a mapping with one of {', '.join(sorted(STEPS))}, got {step!r}.")
    return step


SCRIPTS: dict[str, list[Step]] = {
    "error": [
        {"text": "The built-in demo now pretends that its provider breaks"},
        {"error": "provider_error"},
        {"text": ", and goes on when it is asked to continue."},
    ],
    "fail": [{"error": "provider_unavailable"}],
    "think": [{"reasoning": THOUGHT}, {"pause": 0.5}, {"text": GREETING}],
    "tool": [
        {"text": "The built-in demo calls a tool, which nobody runs:"},
        {"tool_call": {"name": "weather", "arguments": '{"city": "Köln"}'}},
        {"finish": "tool_calls"},
    ],
    "source": [{"text": CITED}, *({"source": cited} for cited in SOURCES)],
    "cut": [
        {"text": "The built-in demo stops here, as a model does that has reached its"},
        {"finish": "length"},
        {"text": " maximum length. This is the rest of the sentence, which it adds when it is asked to continue."},
    ],
    "filter": [{"text": "The built-in demo begins to say something"}, {"finish": "content_filter"}],
    "blank": [{"text": " "}],
    "budget": [{"reasoning": THOUGHT}, {"finish": "length"}],
    "table": [{"text": TABLE}],
    "code": [{"text": CODE}],
    "long": [
        {"text": LONG.replace("{number}", str(number)).replace("{parts}", str(LONG_PARTS))}
        for number in range(1, LONG_PARTS + 1)
    ],
}
