"""What a function's docstring says of it and of its parameters, by Google's style.

Source: https://google.github.io/styleguide/pyguide.html#383-functions-and-methods
"""

from __future__ import annotations

import inspect
import re
from typing import NamedTuple

# The section of the parameters, up to the next line that is not indented.
_ARGUMENTS = re.compile(r"^(?:Args|Arguments|Parameters):[ \t]*\n((?:[ \t]+.*\n?|[ \t]*\n)*)", re.MULTILINE)
_ARGUMENT = re.compile(r"(\w+)\s*(?:\([^)]*\))?:\s*(.*)")


class Docstring(NamedTuple):
    """description: the text without its section of parameters. parameters: the description of each."""

    description: str
    parameters: dict[str, str]


def docstring_of(function: object) -> Docstring:
    """Return what the docstring of a function says."""
    text = inspect.getdoc(function) or ""
    section = _ARGUMENTS.search(text)
    if section is None:
        return Docstring(text.strip(), {})
    rest = f"{text[: section.start()].rstrip()}\n\n{text[section.end() :].lstrip()}"
    return Docstring(rest.strip(), _parameters(section[1]))


def _parameters(section: str) -> dict[str, str]:
    """Return the description of each parameter; lines that are indented further continue it."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in inspect.cleandoc(section).splitlines():
        begins = None if line[:1].isspace() else _ARGUMENT.match(line)
        if begins:
            lines = found.setdefault(begins[1], [])
        lines.append((begins[2] if begins else line).strip())
    return {name: " ".join(filter(None, texts)) for name, texts in found.items()}
