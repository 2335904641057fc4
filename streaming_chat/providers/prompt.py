"""What is sent to a model: the prompt with its turns, and for whom. No repr shows what people wrote."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from django.utils.crypto import salted_hmac

from streaming_chat.outputs import Output
from streaming_chat.protocol.events import TEXT, TOOL_CALL, TOOL_RESULT, text_length

from .model_options import ModelOptions
from .output_schemas import instruction
from .tools import Tools

# As in `Message.parts`: {"kind": "text", "text": …}, or another kind with keys of its own.
Part = Mapping[str, Any]

# 128 bits, in hexadecimal digits.
_HASH_DIGITS = 32


class Turn:
    """One message of a prompt. role: "user" or "assistant".

    parts: what the message consists of, as it is stored, with any kind of part; a string is one part of text. text: that of
    all text parts and results of tools, which is all that many models need. state: what the provider gets back with this
    turn as it was (see `ProviderStream.state`); nothing unless tools run in the reply that the turn belongs to.
    """

    __slots__ = ("_parts", "role", "state", "text")

    def __init__(self, role: str, parts: str | Sequence[Part], state: Sequence[Mapping[str, Any]] = ()) -> None:
        self.role = role
        self.state = state
        self._parts: tuple[Part, ...] | None = None
        if isinstance(parts, str):
            self.text = parts
        else:
            self._parts = tuple(parts)
            self.text = "".join(part["text"] for part in self._parts if part["kind"] in (TEXT, TOOL_RESULT))

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts, in order; none for an empty text."""
        # Most turns are a text, of which a text-only provider needs no part.
        if self._parts is None:
            return ({"kind": TEXT, "text": self.text},) if self.text else ()
        return self._parts

    @property
    def calls(self) -> tuple[Part, ...]:
        """The calls of tools: their `id`, `name` and `arguments`, which are JSON text."""
        return self._parts_of(TOOL_CALL)

    @property
    def results(self) -> tuple[Part, ...]:
        """The results of tools: the `id` of the call, and the `text`; `status` if the site has run it."""
        return self._parts_of(TOOL_RESULT)

    @property
    def text_beside_results(self) -> str:
        """What the user says, without the results of tools."""
        if not self.results:
            return self.text
        return "".join(part["text"] for part in self._parts_of(TEXT)).lstrip("\n")

    @property
    def chars(self) -> int:
        """The code points of the text and of the arguments of calls."""
        return len(self.text) + sum(text_length(part.get("arguments", "")) for part in self.calls)

    def _parts_of(self, kind: str) -> tuple[Part, ...]:
        return () if self._parts is None else tuple(part for part in self._parts if part["kind"] == kind)

    def followed_by(self, other: Turn) -> Turn:
        """Return this turn and another one of the same role as one, with a blank line between their texts."""
        if self._parts is None and other._parts is None:
            return Turn(self.role, f"{self.text}\n\n{other.text}")
        first, *rest = other.parts
        if first["kind"] == TEXT:
            first = {**first, "text": f"\n\n{first['text']}"}
        return Turn(self.role, (*self.parts, first, *rest), self.state)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Turn) and self.role == other.role and self.parts == other.parts

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "Turn()"


class RunContext(NamedTuple):
    """For whom and for which reply a model is asked. It never refers to the request, which ends before the reply.

    user_id: the primary key of the user, None for a visitor. owner_hash: the same for all replies of an owner, and says
    nothing about the owner to anybody else; "" if there is none. metadata: what the site adds.
    """

    user_id: Any = None
    owner_hash: str = ""
    conversation_id: uuid.UUID | None = None
    message_id: uuid.UUID | None = None
    metadata: Mapping[str, str] = MappingProxyType({})

    @property
    def conversation_hash(self) -> str:
        """The same for all replies of a conversation; "" if there is none."""
        return "" if self.conversation_id is None else hash_of("conversation", str(self.conversation_id))

    def __repr__(self) -> str:
        return "RunContext()"


def hash_of(purpose: str, text: str) -> str:
    """Return a hash that cannot be made, or guessed from a list of texts, without the site's SECRET_KEY."""
    return salted_hmac(f"streaming_chat.{purpose}", text, algorithm="sha256").hexdigest()[:_HASH_DIGITS]


class Prompt:
    """What is sent to a model.

    model: the name after the colon in `alias:model`. system: the system prompt, or "". turns: oldest first; the last is
    the user's, or the assistant's that the model is to continue (see `Provider.prefills`). options: of the model; its
    `max_output_tokens` is the most tokens that the reply may have. tools: of the client, None for none.
    output: the object that the reply must be, with its JSON schema; None for text. context: for whom it is. lasting_turns:
    how many turns the next prompt will begin with, None for all; the one after them has documents that were looked up for
    it alone.
    """

    __slots__ = ("context", "lasting_turns", "model", "options", "output", "system", "tools", "turns")

    def __init__(
        self,
        *,
        model: str = "",
        system: str = "",
        turns: tuple[Turn, ...] = (),
        options: ModelOptions = ModelOptions(),  # noqa: B008  (frozen)
        tools: Tools | None = None,
        output: Output | None = None,
        context: RunContext = RunContext(),  # noqa: B008  (a tuple)
        lasting_turns: int | None = None,
    ) -> None:
        self.model = model
        self.system = system
        self.turns = turns
        self.options = options
        self.tools = tools
        self.output = output
        self.context = context
        self.lasting_turns = lasting_turns

    @property
    def chars(self) -> int:
        """The code points of the system prompt, the tools and all turns."""
        output = len(instruction(self.output)) if self.output else 0
        tools = self.tools.chars if self.tools else 0
        return len(self.system) + output + tools + sum(turn.chars for turn in self.turns)

    def with_instruction(self) -> Self:
        """Return the same prompt, with what the reply must be at the end of the system prompt: for an API without a word for
        it."""
        if self.output is None:
            return self
        told = instruction(self.output)
        return self.replace(system=f"{self.system}\n\n{told}" if self.system else told)

    def replace(self, **changes: Any) -> Self:
        """Return a copy in which these attributes have other values."""
        return type(self)(**{name: getattr(self, name) for name in Prompt.__slots__} | changes)

    def __repr__(self) -> str:
        return "Prompt()"
