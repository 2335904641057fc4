"""JSON as text that people read and change, as frontend/src/json-text.js shows it.

It is never parsed and written again, which would change numbers with many digits and hide a name that occurs twice: what is
allowed must be what is shown.
"""

from __future__ import annotations

import json
import re

_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s"{}\[\],:]+')
_ESCAPES = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.")
_INDENT = "  "
# Beyond this depth, lines would be longer by their indentation than by what they say.
_DEEPEST = 20
# Characters without a width, and characters that reverse what follows: they could make a text look like another one.
_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0"
    "\U000e0000-\U000e0fff]"
)
# What stays an escape: control characters, quotes, backslashes and halves of pairs.
_KEPT = re.compile('[\x00-\x1f\x7f-\x9f"\\\\\ud800-\udfff]')


def shown_json(text: str) -> str:
    """Return JSON with a line for each member, and any other text as it is.

    In JSON, the escapes of letters are written as letters. In both, characters that cannot be seen are written as escapes.
    """
    return _UNSEEN.sub(_escaped, _indented(text) if _is_json(text) else text)


def is_same_json(text: str, other: str) -> bool:
    """Return whether two texts are the same JSON, white space apart."""
    return _TOKENS.findall(text) == _TOKENS.findall(other)


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_constant=_refuse, parse_int=len, parse_float=len)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON.")


def _indented(text: str) -> str:
    pieces = _TOKENS.findall(text)
    depth, written = 0, []
    for piece, before, after in zip(pieces, ["", *pieces], [*pieces[1:], ""], strict=False):
        if piece in "{[":
            depth += 1
            written.append(piece if after in ("}", "]") else piece + _line_break(depth))
        elif piece in "}]":
            depth -= 1
            written.append(piece if before in ("{", "[") else _line_break(depth) + piece)
        else:
            written.append(_spaced(piece, depth))
    return "".join(written)


def _spaced(piece: str, depth: int) -> str:
    if piece == ",":
        return piece + _line_break(depth)
    return ": " if piece == ":" else _ESCAPES.sub(_unescaped, piece)


def _line_break(depth: int) -> str:
    return "\n" + _INDENT * min(depth, _DEEPEST)


def _unescaped(escape: re.Match[str]) -> str:
    """Return the character of an escape if it can be written as itself."""
    if not escape[0].startswith("\\u"):
        return escape[0]
    character = json.loads(f'"{escape[0]}"')
    return escape[0] if _KEPT.match(character) else character


def _escaped(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]
