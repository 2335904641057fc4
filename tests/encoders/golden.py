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
    """inside: the events between start and ending. ending: None while it waits. position: from which it is read.

    goes_on: it is read by a client that has answered a call, in the formats in which that begins another stream.
    """

    inside: list
    ending: object
    position: int = 0
    goes_on: bool = False


# What these formats need for that.
GOING_ON = {
    "ai_sdk": {"continues": True},
    "ag_ui": {"continues": True, "thread_id": "thread"},
    "openai": {"goes_on_with": "demo:demo"},
}


def replies() -> dict[str, Reply]:
    """Return the replies, by the names of their files."""
    from streaming_chat.protocol import endings
    from streaming_chat.protocol.events import REASONING, STEP, TEXT, TOOL_CALL, Event, length, source
    from streaming_chat.protocol.tool_calls import approval, denial, result

    text = [Event(TEXT, "Hello"), Event(TEXT, ", wörld 🎈\n<b>&\n")]
    call = {"id": "call_1", "name": "weather", "arguments": '{"city": "Köln"}'}
    cited = [
        source("https://example.com/?a=1&b=2", "A <title>", text="…"),
        source("", "Ours", id="7", origin="context"),
    ]
    done = endings.completed("stop")

    def called(call_id, name, arguments):
        return Event(TOOL_CALL, {"id": call_id, "name": name, "arguments": arguments, "complete": True})

    def asked(runs):
        return approval([{"id": "call_3", "runs": runs, "editable": False}], "2030-01-02T03:04:05+00:00")

    first = [Event(STEP, {"number": 1}), Event(TEXT, "I look."), called("call_1", "weather", '{"city": "Köln"}')]
    failed = [
        called("call_2", "find", "{}"),
        result("call_1", "ok", '{"sky": "<clear>"}', 7),
        result("call_2", "error", "No."),
    ]
    ran = [*first, *failed, Event(STEP, {"number": 2}), Event(TEXT, "\n\nClear.")]
    paying = [Event(STEP, {"number": 1}), Event(TEXT, "I pay."), called("call_3", "pay", '{"amount": 200}')]
    paid = [result("call_3", "ok", "Paid.", 12), Event(STEP, {"number": 2}), Event(TEXT, "\n\nDone.")]
    approved = [*paying, asked("server"), *paid]
    after_approval = 1 + length([*paying, asked("server")])
    return {
        "tools": Reply(ran, done),
        "tools_stopped": Reply([*first, result("call_1", "cancelled", "Not run.")], endings.stopped("user")),
        "tools_waiting": Reply([*paying, asked("server")], None),
        "tools_of_client": Reply([*paying, asked("client")], None),
        "tools_approved": Reply(approved, done),
        "tools_answered": Reply(approved, done, position=after_approval, goes_on=True),
        "tools_denied": Reply(
            [*paying, asked("server"), denial("call_3", "Too much"), *paid[1:]],
            done,
            position=after_approval,
            goes_on=True,
        ),
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
    options = GOING_ON.get(name, {}) if reply.goes_on else {}
    cursor = Cursor(stream, encoder_named(name)(ID, **options), reply.position)
    writes = []
    for event in reply.inside:
        stream.append([event])
        if not reply.position:
            writes += iter(cursor.next, None)
    if reply.ending is None:
        return b"".join(writes)
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
