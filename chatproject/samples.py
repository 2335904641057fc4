"""Sample conversations for the demo: one of each way in which a reply can end or look. Nobody said any of this."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from streaming_chat.accounts.owners import user_key
from streaming_chat.chats.titles import title_of
from streaming_chat.db.alias import live_database
from streaming_chat.engine.completion import Completion, end_reply
from streaming_chat.models import Conversation, Feedback, LiveReply, Message, Status
from streaming_chat.protocol import endings
from streaming_chat.protocol.endings import Ending
from streaming_chat.protocol.events import REASONING, TEXT, TOOL_CALL, Event, length
from streaming_chat.providers.base import Usage

LIST_REPLY = """A list keeps an order and can change; a tuple keeps an order and can't.

| | list | tuple |
|---|---|---|
| written as | `[1, 2]` | `(1, 2)` |
| can change | yes | no |
| as a dict key | no | yes |

```python
point = (3, 4)      # what it is will not change
visited = [point]   # this one grows
```
"""
LIBRARY_THOUGHT = """They want one plan, not a survey of tools. First what must not be lost, then the order of the work: \
photograph, read, check, publish. A table for the cost in time. The script only has to name the files."""
LIBRARY_REPLY = """## From drawers to a database

Four thousand cards are a **summer's work** for two people, not a project of years. The order matters more than the software:

1. **Photograph** every card, front *and back*, before anything is moved.
   - Keep the drawer's order; the file name says drawer and place.
   - A phone on a stand will do, if the light is even.
2. **Read** the images, by eye or by machine.
3. **Check** one card in twenty against its image; above two errors in a hundred, read the drawer again.
4. **Publish** early, and say on every page what has not been checked.

> Corrections in pencil are data, too. Note them; do not decide about them yet.

### What it takes

| Step | Each card | 4,000 cards | Who |
|:--|--:|--:|:--|
| Photograph | 20 s | 22 h | anybody, in pairs |
| Read by eye | 90 s | 100 h | who knows the hands |
| Read by machine, then correct | 35 s | 39 h | the same |
| Check one in twenty | 60 s | 3 h | somebody else |

### Names that sort themselves

This renames a folder of photographs, taken front, back, front, back:

```python
from pathlib import Path

def rename(folder: Path, drawer: str) -> int:
    photographs = sorted(folder.glob("*.jpg"))  # a camera numbers them
    for index, path in enumerate(photographs):
        card, side = index // 2 + 1, "back" if index % 2 else "front"
        path.rename(folder / f"{drawer}-{card:04d}-{side}.jpg")
    return len(photographs) // 2
```

Then `rename(Path("drawer-12"), "d12")` answers 310, or a number that tells you which drawer to open again.

How a card looks when two people have corrected it:

![A catalogue card with notes in three inks](https://images.example/card.jpg)

The rules for entries are [public](https://www.loc.gov/marc/bibliographic/). ~~Invent your own.~~ Take those.
"""
NAME_REPLIES = [
    "How about **Slow Thursday**? It says when, and that nobody has to have finished the book.",
    "Three, from plain to playful:\n\n- **The Thursday Readers**\n- **Page Turners Anonymous**\n- **Half a Chapter**",
    "**Marginalia**: the notes that readers leave for one another.",
]
SOUP_REPLY = """For four people:

1. Soften two onions in butter, slowly, **twenty minutes**.
2. Add 700 g of pumpkin in cubes and a litre of stock.
3. Simmer until soft, then blend.
4. Salt, lemon, and a spoon of cream in each bowl.

If you like it hotter, add ginger with the onions. Some people roast the pumpkin first, which takes"""
HOSTILE_REPLY = """Here is the page you asked about:

<script>alert("a model's output is text")</script>

![a remote image](https://tracker.example/pixel.png) and [a link](javascript:alert(1)) that are shown as what they are.
"""


def create_samples(owner: Any) -> None:
    """Save the sample conversations, the newest last."""
    for index, build in enumerate(_BUILDERS):
        hours_ago = 30 * (len(_BUILDERS) - index) - 28
        build(_Transcript(owner, timezone.now() - timedelta(hours=hours_ago)))


class _Transcript:
    """Writes one conversation; every message is half a minute after the one before."""

    def __init__(self, owner: Any, time: datetime) -> None:
        self._owner = owner
        self._time = time
        self._conversation: Conversation | None = None

    def ask(self, text: str, *, parent: Message | None = None, system: str = "") -> Message:
        """Save a user message; the first one makes the conversation and names it."""
        if self._conversation is None:
            self._conversation = Conversation.objects.create(
                owner=self._owner,
                owner_key=user_key(self._owner),
                title=title_of(text),
                system_prompt=system,
                created_at=self._time,
                metadata={"page": "/samples/"},
            )
        parts = [{"kind": TEXT, "text": text}]
        return self._add(role=Message.Role.USER, text=text, parts=parts, position=1 + len(text), parent=parent)

    def reply(
        self,
        parent: Message,
        model: str,
        ending: Ending,
        received: Sequence[Event] = (),
        *,
        usage: Usage | None = None,
        **fields: Any,
    ) -> Message:
        """Save a reply and its ending, by the same function as a live one."""
        provider = model.split(":", 1)[0]
        message = self._add(
            role=Message.Role.ASSISTANT, parent=parent, status=Status.STREAMING, provider=provider, model=model
        )
        if usage:
            fields |= usage._asdict()
        elif received:
            fields |= _estimate(parent, received)
        # With the model, it has a cost if there is a price.
        fields["model"] = model
        self._end(message, ending, received, fields)
        self._stamp(message, fields.get("duration_ms", 200))
        return message

    def _end(self, message: Message, ending: Ending, received: Sequence[Event], fields: dict[str, Any]) -> None:
        """End a reply under a lease of its own: nobody else may end one."""
        using = live_database()
        live = LiveReply(
            message=message,
            conversation_id=message.conversation_id,
            owner_key=user_key(self._owner),
            slot=0,
            worker="samples",
            expires_at=LiveReply.lease(),
        )
        with transaction.atomic(using=using):
            live.save(using=using)
            end_reply(Completion(message.pk, live.conversation_id, live.worker, ending, received, fields), using)

    def show(self, reply: Message) -> None:
        """Make this reply the one in view, of those that answer the same message."""
        Conversation.objects.filter(pk=reply.conversation_id).update(head=reply)

    def judge(self, reply: Message, value: int, comment: str = "") -> None:
        """Save what the owner thought of a reply."""
        Feedback.objects.create(
            message=reply, value=value, comment=comment, by=self._owner, owner_key=user_key(self._owner)
        )

    def _add(self, **fields: Any) -> Message:
        self._time += timedelta(seconds=30)
        parent = fields.get("parent")
        fields["depth"] = parent.depth + 1 if parent else 0
        message = Message.objects.create(conversation=self._conversation, created_at=self._time, **fields)
        self._conversation.message_count += 1
        Conversation.objects.filter(pk=self._conversation.pk).update(
            head=message, message_count=self._conversation.message_count, last_activity=self._time
        )
        return message

    def _stamp(self, message: Message, duration_ms: int) -> None:
        """Move the ending, which is saved as of now, to its time."""
        ended_at = self._time + timedelta(milliseconds=duration_ms)
        Message.objects.filter(pk=message.pk).update(ended_at=ended_at)
        Conversation.objects.filter(pk=message.conversation_id).update(last_activity=ended_at, model=message.model)


def _estimate(question: Message, received: Sequence[Event]) -> dict[str, Any]:
    """Return the tokens of a reply whose provider did not report them, as the app does."""
    tokens = [-(-count // 4) for count in (len(question.text), length(received))]
    return {"input_tokens": tokens[0], "output_tokens": tokens[1], "tokens_estimated": True}


def _failed(transcript: _Transcript) -> None:
    question = transcript.ask("Is the reading room open on the first of May?")
    transcript.reply(
        question,
        "openai:gpt-6-luna",
        Ending(Status.FAILED, error_code="provider_unavailable", ref="c0de1a2b"),
        duration_ms=15_300,
    )


def _completed(transcript: _Transcript) -> None:
    question = transcript.ask("What is the difference between a list and a tuple in Python?", system="Answer briefly.")
    first = transcript.reply(
        question,
        "openai:gpt-6-luna",
        endings.completed("stop"),
        [Event(REASONING, "A table says it in the least words; then one example."), Event(TEXT, LIST_REPLY)],
        usage=Usage(31, 0, 164, 24),
        finish_reason="stop",
        request_id="req_sample_1",
        first_event_ms=640,
        reasoning_ms=1_200,
        duration_ms=4_210,
    )
    question = transcript.ask("And when would I use a named tuple?", parent=first)
    transcript.reply(
        question,
        "openai:gpt-6-luna",
        endings.completed("length"),
        [Event(TEXT, "When its fields deserve names: `Point(x=3, y=4)` reads better than `(3, 4)`, and it is still a")],
        usage=Usage(214, 192, 32, 0),
        finish_reason="length",
        first_event_ms=410,
        duration_ms=1_130,
    )


def _stopped(transcript: _Transcript) -> None:
    question = transcript.ask("A recipe for pumpkin soup, please.")
    transcript.reply(
        question,
        "anthropic:claude-sonnet-5-5",
        endings.stopped("user", 1 + SOUP_REPLY.index("\n\nIf you like")),
        [Event(TEXT, SOUP_REPLY)],
        first_event_ms=890,
        duration_ms=6_020,
    )


def _retried(transcript: _Transcript) -> None:
    question = transcript.ask("Translate “good morning” into Arabic and Japanese.")
    transcript.reply(question, "openai:gpt-6-luna", Ending(Status.FAILED, error_code="provider_auth", ref="5a3f81c2"))
    transcript.reply(
        question,
        "demo:demo",
        endings.completed("stop"),
        [Event(TEXT, "- Arabic: صباح الخير\n- Japanese: おはようございます 🌅")],
        usage=Usage(12, None, 19, None),
        finish_reason="stop",
        first_event_ms=95,
        duration_ms=700,
    )


def _interrupted(transcript: _Transcript) -> None:
    question = transcript.ask("How do tides work?")
    transcript.reply(
        question,
        "anthropic:claude-sonnet-5-5",
        endings.broken("provider_truncated", received=True),
        [
            Event(
                TEXT,
                "The Moon pulls on the near side of the Earth more than on its centre, and on the centre more than on",
            )
        ],
        first_event_ms=720,
        duration_ms=2_950,
    )


def _tool_call(transcript: _Transcript) -> None:
    question = transcript.ask("What is the weather in Lisbon?")
    call = {"id": "call_sample", "name": "weather", "arguments": '{"city": "Lisbon"}', "complete": True}
    transcript.reply(
        question,
        "openai:gpt-6-luna",
        endings.completed("tool_calls"),
        [Event(TEXT, "Let me look that up."), Event(TOOL_CALL, call)],
        usage=Usage(58, 0, 21, 0),
        finish_reason="tool_calls",
        first_event_ms=530,
        duration_ms=980,
    )


def _hostile(transcript: _Transcript) -> None:
    question = transcript.ask("Show me what a hostile page could put into your answer.")
    transcript.reply(
        question,
        "demo:demo",
        endings.completed("stop"),
        [Event(TEXT, HOSTILE_REPLY)],
        finish_reason="stop",
        first_event_ms=90,
        duration_ms=1_400,
    )


def _siblings(transcript: _Transcript) -> None:
    question = transcript.ask("A name for our reading group? We meet on Thursdays.")
    first, second, _third = (
        transcript.reply(
            question,
            "openai:gpt-6-luna",
            endings.completed("stop"),
            [Event(TEXT, text)],
            usage=Usage(24, 0, 28, 0),
            finish_reason="stop",
            first_event_ms=480,
            duration_ms=1_050,
        )
        for text in NAME_REPLIES
    )
    transcript.judge(first, -1, "It sounds like a diet.")
    transcript.judge(second, 1)
    transcript.show(second)


def _long(transcript: _Transcript) -> None:
    question = transcript.ask("How do we get 4,000 catalogue cards into a database? There are two of us.")
    reply = transcript.reply(
        question,
        "anthropic:claude-sonnet-5-5",
        endings.completed("stop"),
        [Event(REASONING, LIBRARY_THOUGHT), Event(TEXT, LIBRARY_REPLY)],
        usage=Usage(29, 0, 812, 94),
        finish_reason="end_turn",
        request_id="req_sample_2",
        first_event_ms=910,
        reasoning_ms=6_400,
        duration_ms=19_850,
    )
    transcript.judge(reply, 1, "The table persuaded our committee.")


_BUILDERS = [_completed, _failed, _stopped, _retried, _interrupted, _tool_call, _hostile, _siblings, _long]
