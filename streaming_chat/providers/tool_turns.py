"""A reply in which tools of the site ran, as the turns of a prompt: what the model said and called, then the results.

Every API wants the results in a turn of the user's, so such a reply is several turns. Its calls and results are therefore
pairs as those of a client's tools are (see `turns.py`), and each provider puts them into the form of its API in one way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from streaming_chat.protocol.events import STEP, TEXT, TOOL_CALL, TOOL_RESULT

from .prompt import Part, Turn

_NO_STATES: Mapping[int, Sequence[Mapping[str, Any]]] = {}


def has_steps(parts: Iterable[Part]) -> bool:
    """Return whether a reply had tools of the site."""
    return any(part["kind"] == STEP for part in parts)


def turns_of_reply(
    parts: Iterable[Part], states: Mapping[int, Sequence[Mapping[str, Any]]] = _NO_STATES
) -> Iterator[Turn]:
    """Yield the turns of a reply, beginning with the assistant's.

    states: the provider's opaque state by the number of the step, while the tools of this reply run.
    """
    for number, of_step in _by_step(parts):
        said = [part for part in of_step if part["kind"] in (TEXT, TOOL_CALL)]
        if said:
            yield Turn("assistant", [*_without_break(said)], states.get(number, ()))
        places = {part["id"]: place for place, part in enumerate(said) if part["kind"] == TOOL_CALL}
        results = [part for part in of_step if part["kind"] == TOOL_RESULT and part["id"] in places]
        if results:
            yield Turn("user", [_result(part) for part in sorted(results, key=lambda part: places[part["id"]])])


def without_results(turn: Turn) -> Turn | None:
    """Return a turn without the results of calls that are not in the prompt; None if nothing else is in it."""
    if not turn.results:
        return turn
    text = turn.text_beside_results
    return Turn(turn.role, text) if text else None


def _by_step(parts: Iterable[Part]) -> Iterator[tuple[int, list[Part]]]:
    number = 0
    of_step: list[Part] = []
    for part in parts:
        if part["kind"] == STEP:
            if of_step:
                yield number, of_step
            number, of_step = part["number"], []
        else:
            of_step.append(part)
    if of_step:
        yield number, of_step


def _without_break(said: Iterable[Part]) -> Iterator[Part]:
    """Yield the parts without the blank line that separates the texts of two steps."""
    is_first = True
    for part in said:
        if part["kind"] == TEXT and is_first:
            text = part["text"].lstrip("\n")
            is_first = False
            if text:
                yield {**part, "text": text}
        else:
            yield part


def _result(part: Part) -> Part:
    return {"kind": TOOL_RESULT, "id": part["id"], "text": part["output"], "status": part["status"]}
