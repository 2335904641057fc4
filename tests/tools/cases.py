"""What the tests of tools share: a site whose models have the tools of shop.py."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.test import override_settings

from streaming_chat.models import Message, ToolCall
from streaming_chat.protocol.events import STEP, TOOL_CALL, TOOL_RESULT
from tests.servers import Frame, ServerTestCase, wait_until

from . import shop

SETTINGS = {
    "STREAMING_CHAT_TOOLS": {"shop": "tests.tools.shop.tools"},
    "STREAMING_CHAT_MODEL_OPTIONS": {
        f"{wire}:any": {"tools": ["shop"]} for wire in ("openai", "anthropic", "responses")
    },
}


@override_settings(**SETTINGS)
class ToolsCase(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        folder = self.enterContext(tempfile.TemporaryDirectory())
        os.environ["SHOP_LEDGER"] = str(Path(folder) / "ledger")
        for flag in (shop.gate, shop.begun, shop.cancelled):
            flag.clear()

    def ask(self, content: str = "Hello", model: str = "openai:any", **body: Any) -> Message:
        """Send, read to the end, and return the reply."""
        exchange = self.browser.send(content, model=model, **body).rest()
        return Message.objects.get(pk=exchange.message_id)


def kinds(message: Message) -> list[str]:
    """Return the kinds of the parts of a reply."""
    return [part["kind"] for part in message.parts]


def results(message: Message) -> list[tuple[str, str]]:
    """Return the status and output of the results of a reply, in order."""
    return [(part["status"], part["output"]) for part in message.parts if part["kind"] == TOOL_RESULT]


def rows(message: Message) -> list[tuple[str, str]]:
    """Return the name and status of the rows of a reply's calls, in order."""
    return [*ToolCall.objects.filter(message=message).order_by("pk").values_list("name", "status")]


def waiting(message_id: Any) -> Message:
    """Return a reply once it waits."""
    return wait_until(lambda: Message.objects.filter(pk=message_id, status="waiting").first())


def unpaired(parts: Sequence[dict[str, Any]]) -> set[str]:
    """Return the ids of the calls without a result, and of results without a call."""
    assert not parts or any(part["kind"] == STEP for part in parts)

    calls, found = ({part["id"] for part in parts if part["kind"] == kind} for kind in (TOOL_CALL, TOOL_RESULT))
    return calls ^ found


def joined(frames: Sequence[Frame]) -> list[Any]:
    """Return what frames say, with neighbouring texts joined."""
    said: list[Any] = []
    for frame in frames:
        if frame.event == "message" and frame.data != "[DONE]" and said and isinstance(said[-1], str):
            said[-1] += frame.data["text"]
        elif frame.event == "message" and frame.data != "[DONE]":
            said.append(frame.data["text"])
        else:
            said.append(frame.data)
    return said
