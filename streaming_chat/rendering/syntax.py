"""The regular expressions of the Markdown syntax that is not in CommonMark. They are in syntax.json, also for the browser.

A name between percent signs stands for another expression of the file, a list for its alternatives.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

_EXPRESSIONS = json.loads(Path(__file__).with_name("syntax.json").read_text())


def source(name: str) -> str:
    """Return an expression as text, with the expressions that it names filled in."""
    found = _EXPRESSIONS[name]
    expression = "|".join(found) if isinstance(found, list) else found
    return re.sub(r"%(\w+)%", lambda match: source(match[1]), expression)


FORMULA = re.compile(source("formula"))
FORMULA_BLOCK = re.compile(source("formula_block"))
LINE_BREAK = re.compile(source("line_break"))
ADDRESS = re.compile(source("address"))
ADDRESS_END = re.compile(source("address_end"))
NOTE = re.compile(source("note"))
TASK = re.compile(source("task"))
CJK = re.compile(f"[{source('cjk')}]")
BACKTICKS = re.compile("`+")
# In the row of a table: backticks, which may begin code, a formula, or what may hold the beginning of one without being one.
ROW_PIECE = re.compile(rf"(?P<backticks>`+)|\\[\\$]|(?P<formula>{source('formula')})")
