"""Blocks of thinking that Anthropic's API wants to have back unchanged while tools run: signed ones and redacted ones.

Source: https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking, "Preserving thinking blocks"
"""

from __future__ import annotations

from typing import Any

_KINDS = ("thinking", "redacted_thinking")


class ThinkingBlocks:
    """Assembles them, one at a time, since the API sends a reply's blocks one after another.

    It holds no reference to the stream: a cycle would keep the prompt until the collector comes by.
    """

    __slots__ = ("_block", "_index", "_texts")

    def __init__(self) -> None:
        self._block: dict[str, Any] | None = None
        self._index: Any = None
        self._texts: list[str] = []

    def begin(self, index: Any, block: dict[str, Any]) -> None:
        """index: the place of the block in the reply."""
        if block.get("type") in _KINDS:
            self._block, self._index = block, index
            self._texts = [block["thinking"]] if isinstance(block.get("thinking"), str) else []

    def add(self, index: Any, delta: dict[str, Any]) -> None:
        """Add a piece of the text, or the signature, which comes whole."""
        if self._block is None or index != self._index:
            return
        if delta["type"] == "thinking_delta":
            self._texts.append(delta["thinking"])
        elif delta["type"] == "signature_delta":
            self._block["signature"] = delta.get("signature")

    def end(self, index: Any) -> dict[str, Any] | None:
        """Return the complete block, as an item of the stream's state; None if it need not be sent back.

        Thinking without a signature, as some compatible servers send it, is all in the events of the reply.
        """
        if self._block is None or index != self._index:
            return None
        block, self._block = self._block, None
        if block["type"] == "thinking":
            block["thinking"] = "".join(self._texts)
        return {"index": index, "block": block} if block.get("signature") or block.get("data") else None
