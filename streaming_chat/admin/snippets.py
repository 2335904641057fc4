"""The passages of a text that match a search, as HTML."""

from __future__ import annotations

from collections.abc import Sequence

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from streaming_chat.search.snippets import Piece, snippets
from streaming_chat.search.tokenizer import Term


def marked_snippets(text: str, terms: Sequence[Term]) -> list[SafeString]:
    """Return up to three escaped snippets of a text; its beginning if nothing matches in its first 100,000 characters."""
    return [format_html_join("", "{}", ((_marked(piece),) for piece in pieces)) for pieces in snippets(text, terms)]


def _marked(piece: Piece) -> str:
    return format_html("<mark>{}</mark>", piece.text) if piece.is_match else piece.text
