"""HTML: Markdown, the chat element, and the sentence that explains how a reply ended."""

from __future__ import annotations

from django.utils.safestring import SafeString


def markdown(text: str) -> SafeString:
    """Return Markdown as safe HTML."""
    # Imported here, since every command imports this package: the parser takes 2.5 MB of memory.
    from .markdown_html import markdown

    return markdown(text)
