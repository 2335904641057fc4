"""Turns as all APIs want them: the roles alternate, and calls of tools and their results are in pairs.

An API refuses a call without a result in the next turn, and a result without its call in the turn before. So such a call is
left out, and such a result is the user's text. Anthropic's also refuses an id that occurs twice ("`tool_use` ids must be
unique"). Other servers number the calls of each reply from 0, so an id that was used before is replaced.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from streaming_chat.protocol.events import TEXT, TOOL_CALL, TOOL_RESULT, is_blank

from .prompt import Part, Turn

_NONE = Turn("", "")
# For the model, in place of an empty result whose call is not there. A turn without text would be refused.
_NO_RESULT = "The tool returned nothing."


def joined(turns: Iterable[Turn]) -> list[Turn]:
    """Return the turns with neighbours of one role joined: APIs reject two turns of a user in a row."""
    found: list[Turn] = []
    for turn in turns:
        if found and found[-1].role == turn.role:
            found[-1] = found[-1].followed_by(turn)
        else:
            found.append(turn)
    return found


def in_pairs(turns: Sequence[Turn]) -> Sequence[Turn]:
    """Return the turns without calls and results that have no counterpart, and without turns that have nothing else.

    turns: of roles that alternate.
    """
    if not any(turn.calls or turn.results for turn in turns):
        return turns
    kept = joined(turn for turn in _paired(turns) if turn.calls or turn.results or not is_blank(turn.text))
    return [*_with_unique_ids(kept)]


def _paired(turns: Sequence[Turn]) -> Iterator[Turn]:
    for (before, turn), (_turn, after) in pairwise(pairwise([_NONE, *turns, _NONE])):
        called, answered = _ids(before.calls), _ids(after.results)
        yield Turn(turn.role, [kept for part in turn.parts for kept in _kept(part, called, answered)], turn.state)


def _with_unique_ids(turns: Iterable[Turn]) -> Iterator[Turn]:
    used: set[str] = set()
    called: dict[str, str] = {}
    for turn in turns:
        # A turn has either calls or results, which are those of the turn before.
        names = called
        if turn.calls:
            ids = dict.fromkeys(part["id"] for part in turn.calls)
            names = called = {call_id: _unused(call_id, used) for call_id in ids}
        is_same = all(old == new for old, new in names.items())
        yield turn if is_same else Turn(turn.role, [_renamed(part, names) for part in turn.parts], turn.state)


def _unused(call_id: str, used: set[str]) -> str:
    """Return the id, or one like it that is not used yet; and note that it is used."""
    found, number = call_id, 1
    while found in used:
        number += 1
        found = f"{call_id}_{number}"
    used.add(found)
    return found


def _renamed(part: Part, names: Mapping[str, str]) -> Part:
    return {**part, "id": names.get(part["id"], part["id"])} if part.get("id") else part


def _ids(parts: Iterable[Part]) -> set[str]:
    return {part["id"] for part in parts if part.get("id")}


def _kept(part: Part, called: set[str], answered: set[str]) -> list[Part]:
    """Return what is left of a part: itself, nothing or, of a result, its text."""
    if part["kind"] == TOOL_RESULT and part["id"] not in called:
        return [{"kind": TEXT, "text": _NO_RESULT if is_blank(part["text"]) else part["text"]}]
    return [] if part["kind"] == TOOL_CALL and part.get("id") not in answered else [part]
