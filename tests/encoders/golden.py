"""Writes tests/encoders/golden/: the bytes of each format for a few replies. Run `python -m tests.encoders.golden`.

Read what has changed before you commit it. Clients depend on every byte of it.
"""

import os
import uuid
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).with_name("golden")
ID = "019a0000-0000-7000-8000-000000000001"


class Reply(NamedTuple):
    """inside: the events between start and ending. position: from which it is read."""

    inside: list
    ending: object
    position: int = 0


def replies() -> dict[str, Reply]:
    """Return the replies, by the names of their files."""
    from streaming_chat.protocol import endings
    from streaming_chat.protocol.events import REASONING, TEXT, TOOL_CALL, Event, source

    text = [Event(TEXT, "Hello"), Event(TEXT, ", wörld 🎈\n<b>&\n")]
    call = {"id": "call_1", "name": "weather", "arguments": '{"city": "Köln"}'}
    cited = [
        source("https://example.com/?a=1&b=2", "A <title>", text="…"),
        source("", "Ours", id="7", origin="context"),
    ]
    done = endings.completed("stop")
    return {
        "text": Reply(text, done),
        "reasoning": Reply([Event(REASONING, "Let me\nthink."), *text], done),
        "tool_call": Reply(
            [
                Event(TOOL_CALL, {**call, "complete": True}),
                Event(TOOL_CALL, {**call, "arguments": '{"ci', "complete": False}),
            ],
            endings.completed("tool_calls"),
        ),
        "source": Reply([cited[0], *text, cited[1]], done),
        "stop": Reply(text, endings.stopped("user")),
        "error": Reply(text, endings.broken("provider_truncated", received=True, ref="a1b2c3")),
        "resume": Reply([Event(REASONING, "Let me think."), *text], done, position=17),
        "reset": Reply(text, done, position=1_000),
    }


def encoded(name: str, reply: Reply) -> bytes:
    """Return the whole stream of a reply in a format, live."""
    from streaming_chat.encoders import encoder_named
    from streaming_chat.engine.cursor import Cursor
    from streaming_chat.engine.stream import ReplyStream
    from streaming_chat.protocol import endings
    from streaming_chat.protocol.events import START, Event, text_of

    start = {"message": ID, "user_message": f"{ID[:-1]}2", "conversation": f"{ID[:-1]}3", "model": "demo:demo"}
    usage = {
        "input_tokens": 7,
        "cached_input_tokens": None,
        "cache_write_tokens": None,
        "output_tokens": 4,
        "reasoning_tokens": 2,
        "estimated": False,
    }
    stream = ReplyStream(uuid.UUID(ID), None)
    stream.append([Event(START, start)])
    cursor = Cursor(stream, encoder_named(name)(ID), reply.position)
    writes = []
    for event in reply.inside:
        stream.append([event])
        if not reply.position:
            writes += iter(cursor.next, None)
    stream.end(endings.payload(reply.ending, text_of(reply.inside), usage, model="demo:demo"))
    return b"".join([*writes, *iter(cursor.next, None)])


def write() -> None:
    """Write the files of all formats that carry a text."""
    from .formats import FORMATS

    for name in FORMATS:
        (FOLDER / name).mkdir(parents=True, exist_ok=True)
        for case, reply in replies().items():
            (FOLDER / name / f"{case}.txt").write_bytes(encoded(name, reply))


if __name__ == "__main__":
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    write()
