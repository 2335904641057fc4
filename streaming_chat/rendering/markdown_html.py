"""Renders a model's Markdown as safe HTML. No I/O.

Raw HTML stays text, images become their description and address, and an allow-list filters the Markdown library's output.
allowed_html.json has that list, for this module and for the browser. Formulas stay as they were written. The time is linear
in the length of a text, and `MarkdownBudget` limits it for a page.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import nh3
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
from markdown_it.token import Token

from streaming_chat.protocol.storable_text import storable

from .markdown_rules import DialectInline, add_rules

_MARKUP = json.loads(Path(__file__).with_name("allowed_html.json").read_text())

# What a page may cost, in units of `cost`: 200,000 to 400,000 characters of ordinary Markdown, in 0.2 s. At worst, 1.2 s.
PAGE_COST = 800_000
# What Markdown costs beside its length. A unit takes up to 1.5 µs of CPU (markdown-it-py 4.3), in ordinary text 0.2 µs.
_COSTS = dict.fromkeys("!#$%&+-:<=>@\\]^{}", 4) | dict.fromkeys("*_`|~", 6) | {"[": 24, "\n": 60, "\n\n": -50}

_SAFE_ADDRESS = re.compile(_MARKUP["address"], re.IGNORECASE)
_NOTE_ADDRESS = re.compile(_MARKUP["note_address"], re.ASCII)
# By "tag attribute"; an attribute that is not in it may have any value.
_VALUES = {name: re.compile(pattern, re.ASCII) for name, pattern in _MARKUP["values"].items()}
_ATTRIBUTES = {tag: set(names) for tag, names in _MARKUP["attributes"].items()}
_TAGS = set(_ATTRIBUTES)
_DIRECTED = {tag for tag, names in _ATTRIBUTES.items() if "dir" in names}
_ALIGNMENTS = {f"text-align:{side}": side for side in ("left", "center", "right")}


class Formatted(NamedTuple):
    """A text as HTML. is_unformatted: it is plain text, since too little of the budget was left; a whole one is enough."""

    html: SafeString
    is_unformatted: bool = False


class MarkdownBudget:
    """What a page may still spend on Markdown. A text takes its cost before it is formatted."""

    def __init__(self) -> None:
        self._left = PAGE_COST

    def format(self, text: str) -> Formatted:
        """Format a text, or return plain text if that costs more than is left."""
        price = cost(text)
        if price > self._left:
            return Formatted(plain(text), is_unformatted=price <= PAGE_COST)
        self._left -= price
        return Formatted(markdown(text))


def cost(text: str) -> int:
    """Return an upper bound of the work to format a text."""
    return len(text) + sum(units * text.count(markup) for markup, units in _COSTS.items())


def markdown(text: str) -> SafeString:
    """Return Markdown as safe HTML, of any size: a page has a MarkdownBudget."""
    text = storable(text)
    # Tells the footnotes of the messages of a page apart.
    prefix = hashlib.sha256(text.encode()).hexdigest()[:8]
    return clean(_MARKDOWN.render(text, {"prefix": f"{prefix}-"}))


def plain(text: str) -> SafeString:
    """Return escaped text in a `pre`."""
    return format_html('<pre dir="auto">{}</pre>', text)


def clean(html: str) -> SafeString:
    """Return HTML filtered by the allow-list."""
    cleaned = nh3.clean(
        html,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        attribute_filter=_filter_attribute,
        url_schemes=set(_MARKUP["schemes"]),
        link_rel=_MARKUP["rel"],
    )
    return mark_safe(cleaned)  # noqa: S308  (filtered by the allow-list)


def _filter_attribute(tag: str, attribute: str, value: str) -> str | None:
    if attribute == "href":
        return value if _SAFE_ADDRESS.match(value) or _NOTE_ADDRESS.fullmatch(value) else None
    pattern = _VALUES.get(f"{tag} {attribute}")
    return value if pattern is None or pattern.fullmatch(value) else None


def _adapt_blocks(state: StateCore) -> None:
    """Give each outer block its own direction, and replace style attributes, which a strict policy blocks, with `align`.

    With `dir` on an inner block, the outer one's `auto` would ignore its text and put bullets on the wrong side.
    """
    for token in state.tokens:
        if token.nesting == 1 and token.level == 0 and token.tag in _DIRECTED:
            token.attrSet("dir", "auto")
        style = token.attrs.pop("style", None)
        if style in _ALIGNMENTS:
            token.attrSet("align", _ALIGNMENTS[str(style)])


def _describe_image(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> SafeString:
    """Show the description and address of an image: loading it would tell its host who reads what."""
    token = tokens[index]
    alt = renderer.renderInlineAsText(token.children or [], options, env)
    return format_html(_("[Image: {alt} {address}]"), alt=alt, address=token.attrs["src"])


class _Markdown(MarkdownIt):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.inline = DialectInline()
        self.configure(*args)

    def validateLink(self, url: str) -> bool:  # noqa: N802  (markdown-it's name)
        """Refuse unsafe addresses, and relative ones, which would be pages of this site."""
        return bool(_SAFE_ADDRESS.match(url))


def _make_markdown() -> MarkdownIt:
    parser = _Markdown("commonmark", {"html": False, "breaks": True, "maxNesting": _MARKUP["max_nesting"]})
    parser.enable(["table", "strikethrough"])
    add_rules(parser)
    parser.core.ruler.push("adapt_blocks", _adapt_blocks)
    parser.add_render_rule("image", _describe_image)
    # The first use compiles the rules, which is not thread-safe.
    parser.render("a")
    return parser


_MARKDOWN = _make_markdown()
