"""What a client of each format reads, by parsers that know nothing of the encoders. A new format is entered in FORMATS."""

import json
from collections.abc import Callable
from html.parser import HTMLParser
from typing import NamedTuple

from streaming_chat.protocol.events import END, REASONING, SOURCE, START, TEXT, TOOL_CALL

# A kind, and the text of a delta; neighbouring deltas of one kind are one.
Item = tuple[str, str]


class Format(NamedTuple):
    """kinds: what the format carries, in addition to the text. read: returns the items in a stream."""

    kinds: frozenset[str]
    read: Callable[[bytes], list[Item]]


class SSEEvent(NamedTuple):
    name: str
    data: str
    id: str


def sse_events(stream: bytes) -> list[SSEEvent]:
    """Return what EventSource dispatches.

    Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
    """
    text = stream.decode("utf-8").removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    found: list[SSEEvent] = []
    name, data, last_id = "", "", ""
    for line in text.split("\n")[:-1]:
        field, _colon, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                found.append(SSEEvent(name or "message", data.removesuffix("\n"), last_id))
            name, data = "", ""
        elif field == "data":
            data += value + "\n"
        elif field == "event":
            name = value
        elif field == "id" and "\0" not in value:
            last_id = value
    return found


def merged(items: list[Item]) -> list[Item]:
    """Return the items with neighbouring deltas of one kind joined."""
    joined: list[Item] = []
    for kind, text in items:
        if kind in (TEXT, REASONING):
            if not text:
                continue
            if joined and joined[-1][0] == kind:
                joined[-1] = (kind, joined[-1][1] + text)
                continue
        joined.append((kind, text))
    return joined


_ENDINGS = ("done", "stopped", "interrupted", "failed")


def _simple_item(name: str, data: dict) -> Item:
    if name in ("message", "text"):
        return TEXT, data["text"]
    assert data["text"] == ""
    return (END, "") if name in _ENDINGS else (name, data.get(name, "") if name == REASONING else "")


def read_simple(stream: bytes) -> list[Item]:
    *events, done = sse_events(stream)

    assert done.data == "[DONE]"
    return merged([_simple_item(event.name, json.loads(event.data)) for event in events])


def read_text(stream: bytes) -> list[Item]:
    return merged([(TEXT, stream.decode())])


def read_ndjson(stream: bytes) -> list[Item]:
    """Split at LF alone, as the format says: U+2028 and U+0085 end no line."""
    assert stream.endswith(b"\n")
    lines = [json.loads(line) for line in stream[:-1].split(b"\n")]
    return merged([_simple_item(line["event"], line) for line in lines if line["event"] != "heartbeat"])


class _Text(HTMLParser):
    """Collects text, and fails at any element but a source's."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text = ""

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: object) -> None:
        raise AssertionError(f"an element {tag} in a text")

    handle_comment = handle_decl = handle_pi = unknown_decl = lambda self, data: self.handle_starttag(data, [])


def _text_in(html: str) -> str:
    assert html.startswith("<span>")
    assert html.endswith("</span>")
    parser = _Text()
    parser.feed(html.removeprefix("<span>").removesuffix("</span>"))
    parser.close()
    return parser.text


def read_html(stream: bytes) -> list[Item]:
    *events, close = sse_events(stream)
    items: list[Item] = []
    for name, data, _id in events:
        if name in ("message", REASONING):
            items.append((TEXT if name == "message" else REASONING, _text_in(data)))
        elif name == SOURCE:
            assert data.startswith(("<a href=", "<cite>"))
            assert data.count("<") == 2
            items.append((SOURCE, ""))
        else:
            items.append((END if name in _ENDINGS else name, ""))

    assert close.name == "close"
    return merged(items)


_AG_UI_KINDS = {
    "RUN_STARTED": START,
    "TOOL_CALL_START": TOOL_CALL,
    "CUSTOM": SOURCE,
    "RUN_FINISHED": END,
    "RUN_ERROR": END,
}


def read_ag_ui(stream: bytes) -> list[Item]:
    """Also see that what is opened is closed, in order, as @ag-ui/client does."""
    items: list[Item] = []
    is_open: list[str] = []
    for event in sse_events(stream):
        data = json.loads(event.data)
        kind = data["type"]
        assert "null" not in event.data.replace(json.dumps(data.get("delta", "")), "")
        if kind.endswith(("_END", "_FINISHED")) and kind != "RUN_FINISHED":
            assert is_open.pop() == kind.rpartition("_")[0]
        if kind in _AG_UI_KINDS:
            items.append((_AG_UI_KINDS[kind], ""))
        elif kind in ("TEXT_MESSAGE_CONTENT", "REASONING_MESSAGE_CONTENT"):
            assert is_open[-1] == kind.removesuffix("_CONTENT")
            items.append((TEXT if kind.startswith("TEXT") else REASONING, data["delta"]))
        if kind.endswith(("_START", "_STARTED")) and kind != "RUN_STARTED":
            is_open.append(kind.rpartition("_")[0])

    assert is_open == []
    return merged(items)


_AI_SDK_KINDS = {"start": START, "finish": END, "abort": END, "error": END}
_AI_SDK_DELTAS = {"text-delta": TEXT, "reasoning-delta": REASONING}


def read_ai_sdk(stream: bytes) -> list[Item]:
    """Also see that a part is begun before its deltas, and ended before the next one begins, as `useChat` needs."""
    *events, done = sse_events(stream)
    items: list[Item] = []
    is_open = None
    for event in events:
        data = json.loads(event.data)
        kind = data["type"]
        if kind.endswith("-start"):
            assert is_open is None
            is_open = (kind.removesuffix("-start"), data["id"])
        elif kind in _AI_SDK_DELTAS:
            assert is_open == (kind.removesuffix("-delta"), data["id"])
            items.append((_AI_SDK_DELTAS[kind], data["delta"]))
        elif kind.endswith("-end"):
            assert is_open == (kind.removesuffix("-end"), data["id"])
            is_open = None
        else:
            assert is_open is None
            if kind in _AI_SDK_KINDS:
                items.append((_AI_SDK_KINDS[kind], ""))

    assert done.data == "[DONE]"
    return merged(items)


def read_openai(stream: bytes) -> list[Item]:
    """Also see that all chunks are of one reply."""
    items: list[Item] = []
    heads = set()
    for event in sse_events(stream):
        data = {} if event.data == "[DONE]" else json.loads(event.data)
        assert (event.name, event.id) == ("message", "")
        if not data or "error" in data:
            items.append((END, ""))
            continue
        heads.add((data["id"], data["created"], data["model"], data["system_fingerprint"]))
        items += _openai_items(data["choices"][0]["delta"])

    assert len(heads) == 1
    return merged(items)


def _openai_items(delta: dict) -> list[Item]:
    if "role" in delta:
        return [(START, "")]
    if "tool_calls" in delta:
        return [(TOOL_CALL, "")]
    return [(kind, delta[key]) for key, kind in (("content", TEXT), ("reasoning_content", REASONING)) if key in delta]


_EVERYTHING = frozenset({START, REASONING, TOOL_CALL, SOURCE, END})

FORMATS = {
    "simple": Format(_EVERYTHING, read_simple),
    "text": Format(frozenset(), read_text),
    "ndjson": Format(_EVERYTHING, read_ndjson),
    "html": Format(_EVERYTHING - {TOOL_CALL}, read_html),
    "openai": Format(_EVERYTHING - {SOURCE}, read_openai),
    "ag_ui": Format(_EVERYTHING, read_ag_ui),
    # A source is told once, and a tool call only if its arguments are JSON.
    "ai_sdk": Format(_EVERYTHING - {TOOL_CALL, SOURCE}, read_ai_sdk),
}
# The json format carries an object and no text: tests/encoders/test_growing_object.py.
WITHOUT_TEXT = {"json"}
