"""Rules of markdown-it for what models write beyond CommonMark: formulas, footnotes, task lists, bare addresses, `<br>`.

frontend/src/markdown/ has the same rules for the browser; tests/browser/test_markdown.py compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import mdurl
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from markdown_it import MarkdownIt
from markdown_it.common.utils import isMdAsciiPunct, isPunctChar, isWhiteSpace
from markdown_it.parser_inline import ParserInline
from markdown_it.renderer import RendererHTML
from markdown_it.ruler import RuleOptionsType
from markdown_it.rules_block import StateBlock, blockquote, list_block, table
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.rules_inline.state_inline import Scanned
from markdown_it.token import Token
from markdown_it.utils import EnvType

from . import syntax

# A formula has up to 5000 characters.
_MAX_BLOCK_CHARS = 6000
_CLOSING = {"$$": "$$", "\\[": "\\]", "\\(": "\\)"}
# Stands for "|" within a formula while the cells of a table are divided; markdown-it has replaced every real NUL.
_HIDDEN_PIPE = "\0"
_BlockRule = Callable[[StateBlock, int, int, bool], bool]
_INTERRUPTS: RuleOptionsType = {"alt": ["paragraph", "reference", "blockquote", "list"]}


def add_rules(parser: MarkdownIt) -> None:
    """Extend a parser, whose `inline` must be a `DialectInline`, by all rules of this module."""
    parser.block.ruler.at("table", _table, {"alt": ["paragraph", "reference"]})
    parser.block.ruler.at("blockquote", _nested(blockquote), _INTERRUPTS)
    parser.block.ruler.at("list", _nested(list_block), {"alt": ["paragraph", "reference", "blockquote"]})
    parser.block.ruler.before("reference", "formula", _formula_block, _INTERRUPTS)
    parser.block.ruler.before("reference", "note", _note_block, _INTERRUPTS)
    parser.inline.ruler.after("text", "address", _address)
    parser.inline.ruler.before("escape", "formula", _formula)
    parser.inline.ruler.before("link", "note", _note)
    parser.inline.ruler.before("autolink", "line_break", _line_break)
    parser.core.ruler.before("block", "hide_pipes", _hide_pipes)
    parser.core.ruler.after("block", "show_pipes", _show_pipes)
    parser.core.ruler.after("show_pipes", "tasks", _tasks)
    for name, rule in (("formula", _render_formula), ("note", _render_note), ("task", _render_task)):
        parser.add_render_rule(name, rule)


# Emphasis


class DialectInline(ParserInline):
    """Parses the text of a block. The text rule stops where a bare address may begin."""

    def __init__(self) -> None:
        super().__init__()
        start = r"(?<![A-Za-z0-9])(?:https?://|www\.)"
        self.terminator_re = re.compile(f"{self.terminator_re.pattern}|{start}", re.IGNORECASE)

    def parse(self, src: str, md: MarkdownIt, env: EnvType, tokens: list[Token]) -> list[Token]:
        state = _DialectState(src, md, env, tokens)
        self.tokenize(state)
        for rule in self.ruler2.getRules(""):
            rule(state)
        return state.tokens


class _DialectState(StateInline):
    def scanDelims(self, start: int, canSplitWord: bool) -> Scanned:  # noqa: N802, N803  (markdown-it's names)
        """Decide whether delimiters open or close emphasis; also next to the punctuation of Chinese, Japanese and Korean.

        Source: https://github.com/tats-u/markdown-cjk-friendly/blob/main/specification.md
        """
        end = start
        while end < self.posMax and self.src[end] == self.src[start]:
            end += 1
        before = self.src[start - 1] if start else " "
        after = self.src[end] if end < self.posMax else " "
        is_left = not _is_space(after) and (not _is_punctuation(after) or _is_edge(before))
        is_right = not _is_space(before) and (not _is_punctuation(before) or _is_edge(after))
        can_open = is_left and (canSplitWord or not is_right or _is_any_punctuation(before))
        can_close = is_right and (canSplitWord or not is_left or _is_any_punctuation(after))
        return Scanned(can_open, can_close, end - start)


def _is_space(character: str) -> bool:
    return isWhiteSpace(ord(character))


def _is_any_punctuation(character: str) -> bool:
    return isMdAsciiPunct(ord(character)) or isPunctChar(character)


def _is_punctuation(character: str) -> bool:
    """Whether CommonMark's rules for punctuation apply: they presuppose spaces between words."""
    return _is_any_punctuation(character) and not syntax.CJK.match(character)


def _is_edge(character: str) -> bool:
    return _is_space(character) or _is_any_punctuation(character) or bool(syntax.CJK.match(character))


# Formulas


def _formula_block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A formula with lines of its own, which may look like a list or a heading."""
    opening = _line(state, start)[:2]
    if opening not in ("$$", "\\["):
        return False
    line = _closing_line(state, start, end, opening)
    text = state.getLines(start, line, state.blkIndent, False).lstrip(" ")
    match = syntax.FORMULA_BLOCK.match(text)
    if match is None:
        return False
    if not silent:
        _push_paragraph(state, start, start + match[0].rstrip("\n").count("\n") + 1)
    return True


def _closing_line(state: StateBlock, start: int, end: int, opening: str) -> int:
    """Return the line after the one where a formula ends, or where it cannot go on: so each line is read once."""
    indent = min(state.blkIndent, state.sCount[start])
    position, limit = state.bMarks[start] + state.tShift[start] + 2, state.bMarks[start] + _MAX_BLOCK_CHARS
    for line in range(start, end):
        is_another = opening == "\\[" and line > start and _line(state, line).startswith(opening)
        if is_another or state.isEmpty(line) or state.sCount[line] < indent or state.bMarks[line] > limit:
            return line
        if state.src.find(_CLOSING[opening], position, state.eMarks[line]) >= 0:
            return line + 1
        position = state.eMarks[line]
    return end


def _line(state: StateBlock, line: int) -> str:
    """Return a line without its indent, "" for one that is code."""
    if state.is_code_block(line):
        return ""
    return state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]]


def _push_paragraph(state: StateBlock, start: int, end: int) -> None:
    state.line = end
    state.push("paragraph_open", "p", 1).map = [start, end]
    token = state.push("inline", "", 0)
    token.content = state.getLines(start, end, state.blkIndent, False).strip()
    token.map = [start, end]
    token.children = []
    state.push("paragraph_close", "p", -1)


def _formula(state: StateInline, silent: bool) -> bool:
    closing = _CLOSING.get(state.src[state.pos : state.pos + 2], "$")
    if state.src[state.pos] not in "\\$" or _last(state, closing) <= state.pos:
        return False
    match = syntax.FORMULA.match(state.src, state.pos)
    if match is None or match.end() > state.posMax:
        return False
    if not silent:
        state.push("formula", "span", 0).content = match[0]
    state.pos = match.end()
    return True


def _last(state: StateInline, text: str) -> int:
    """Return where in the source a text is for the last time: searching it at each beginning would take quadratic time."""
    known: dict[tuple[str, str], int] = state.env.setdefault("last", {})
    key = (state.src, text)
    if key not in known:
        known[key] = state.src.rfind(text)
    return known[key]


def _render_formula(
    _renderer: RendererHTML, tokens: Sequence[Token], index: int, _options: Any, _env: Any
) -> SafeString:
    """A formula as it was written: only the browser can typeset it."""
    return format_html('<span class="math" dir="ltr">{}</span>', tokens[index].content)


def _hide_pipes(state: StateCore) -> None:
    """Keep the formulas in a table's row together, which may hold the character that divides cells."""
    if "|" in state.src and ("$" in state.src or "\\" in state.src):
        state.src = "\n".join(_hide_pipes_of(line) if "|" in line else line for line in state.src.split("\n"))


def _hide_pipes_of(line: str) -> str:
    code_ends = _code_ends(line)
    pieces: list[str] = []
    position = shown = 0
    while match := syntax.ROW_PIECE.search(line, position):
        position = code_ends.get(match.start(), match.end())
        if match["formula"]:
            pieces += line[shown : match.start()], _hidden(match[0])
            shown = position
    return "".join([*pieces, line[shown:]])


def _code_ends(line: str) -> dict[int, int]:
    """Return the ends of what may be code by its beginnings: the next run of as many backticks."""
    runs = [match.span() for match in syntax.BACKTICKS.finditer(line)]
    later: dict[int, int] = {}
    ends = {}
    for start, end in reversed(runs):
        if end - start in later:
            ends[start] = later[end - start]
        later[end - start] = end
    return ends


def _hidden(formula: str) -> str:
    # "$$" is also how dear something is: | $$ | $$$ |
    is_price = formula.startswith("$$") and (formula[2].isspace() or formula[-3].isspace())
    return formula if is_price else formula.replace("|", _HIDDEN_PIPE)


def _show_pipes(state: StateCore) -> None:
    for token in state.tokens:
        if _HIDDEN_PIPE in token.content or _HIDDEN_PIPE in token.info:
            token.content = token.content.replace(_HIDDEN_PIPE, "|")
            token.info = token.info.replace(_HIDDEN_PIPE, "|")


# Lists and quotes


def _nested(rule: _BlockRule) -> _BlockRule:
    """Return the rule for blocks that hold others, which leaves what is nested too deeply as text, not out."""

    def nested(state: StateBlock, start: int, end: int, silent: bool) -> bool:
        # A list and its item are two levels.
        return state.level + 2 < state.md.options["maxNesting"] and rule(state, start, end, silent)

    return nested


# Tables


def _table(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A table. It ends where the cells that are missing in its rows would become more than its characters."""
    if not table(state, start, end, True):
        return False
    return silent or table(state, start, _table_end(state, start, end), False)


def _table_end(state: StateBlock, start: int, end: int) -> int:
    width = state.src.count("|", state.bMarks[start + 1], state.eMarks[start + 1])
    for line in range(start + 2, end):
        if state.isEmpty(line) or (line - start) * width > state.eMarks[line] - state.bMarks[start]:
            return line
    return end


# Footnotes


def _note_block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A footnote: a paragraph that begins with "[^label]:", and stays where it was written."""
    line = _line(state, start)
    match = syntax.NOTE.match(line) if line.startswith("[^") else None
    if match is None or not line.startswith(":", match.end()):
        return False
    if not silent:
        state.env.setdefault("notes", set()).add(match[1])
        state.md.block.ruler.getRules("")[-1](state, start, end, False)
    return True


def _note(state: StateInline, silent: bool) -> bool:
    """The mark of a footnote in the text, or before the footnote. One whose label is a number needs no footnote."""
    match = syntax.NOTE.match(state.src, state.pos) if state.src.startswith("[^", state.pos) else None
    if match is None or match.end() > state.posMax:
        return False
    label, after = match[1], state.src[match.end() : match.end() + 1]
    is_known = label in state.env.get("notes", ())
    if after == "(" or not (is_known or re.fullmatch("[0-9]{1,3}", label)):
        return False
    is_definition = is_known and state.pos == 0 and after == ":"
    if not silent:
        token = state.push("note", "sup", 0)
        token.content = label
        token.meta = {"is_definition": is_definition, "is_link": is_known and not state.linkLevel}
    state.pos = match.end() + is_definition
    return True


def _render_note(
    _renderer: RendererHTML, tokens: Sequence[Token], index: int, _options: Any, env: EnvType
) -> SafeString:
    token = tokens[index]
    name = f"fn-{env['prefix']}{_slug(token.content)}"
    if token.meta["is_definition"]:
        return format_html('<sup id="{}">{}</sup>', name, token.content)
    if token.meta["is_link"]:
        return format_html('<sup><a href="#{}">{}</a></sup>', name, token.content)
    return format_html("<sup>{}</sup>", token.content)


def _slug(label: str) -> str:
    return re.sub(r"[^A-Za-z0-9-]", lambda match: f"_{ord(match[0]):x}", label)


# Task lists


def _tasks(state: StateCore) -> None:
    """Take the "[x]" at the beginning of a list's item; `_render_task` shows it."""
    for index, token in enumerate(state.tokens[2:], 2):
        if token.type != "inline" or state.tokens[index - 2].type != "list_item_open":
            continue
        match = syntax.TASK.match(token.content)
        if match and state.tokens[index - 1].type == "paragraph_open":
            token.content = token.content[match.end() :]
            box = Token("task", "input", 0, meta={"is_done": match[1] != " "})
            token.children = [box]


def _render_task(_renderer: RendererHTML, tokens: Sequence[Token], index: int, _options: Any, _env: Any) -> SafeString:
    if tokens[index].meta["is_done"]:
        return format_html('<input type="checkbox" disabled="" aria-label="{}" checked=""> ', _("Completed task"))
    return format_html('<input type="checkbox" disabled="" aria-label="{}"> ', _("Open task"))


# Line breaks and addresses


def _line_break(state: StateInline, silent: bool) -> bool:
    match = syntax.LINE_BREAK.match(state.src, state.pos) if state.src[state.pos] == "<" else None
    if match is None or match.end() > state.posMax:
        return False
    if not silent:
        state.push("hardbreak", "br", 0)
    state.pos = match.end()
    return True


def _address(state: StateInline, silent: bool) -> bool:
    """A bare address, without the punctuation at its end."""
    match = syntax.ADDRESS.match(state.src, state.pos) if state.src[state.pos] in "hHwW" else None
    if match is None or state.linkLevel:
        return False
    shown = syntax.ADDRESS_END.sub("", match[0][: state.posMax - state.pos])
    if not silent:
        href = shown if shown[0] in "hH" else f"https://{shown}"
        state.push("link_open", "a", 1).attrs = {"href": mdurl.encode(href)}
        state.push("text", "", 0).content = shown
        state.push("link_close", "a", -1)
    state.pos += len(shown)
    return True
