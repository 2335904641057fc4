"""The tools of a client, which a model may call and the client runs. Each provider puts them into the form of its API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from streaming_chat.protocol.events import text_length


class Tools(NamedTuple):
    """What a model may call, and how. Its repr shows nothing of what the client has written.

    functions: each with `name`, and with `description`, `parameters` (a JSON schema) and `strict` (whether the arguments
    must match it) if the client has given them. choice: "auto", "none" or "required"; "" for the API's default. function:
    the name of the one that the model must call, "" for none. parallel: whether a reply may have several calls; None for
    the API's default.
    """

    functions: tuple[Mapping[str, Any], ...]
    choice: str = ""
    function: str = ""
    parallel: bool | None = None

    @property
    def must_be_called(self) -> bool:
        """Whether a reply must have a call."""
        return bool(self.function) or self.choice == "required"

    @property
    def chars(self) -> int:
        """The code points of all texts."""
        return text_length(self.functions)

    def __repr__(self) -> str:
        return "Tools()"
