"""The text of a message as HTML, for pages that have no Markdown renderer of their own."""

from __future__ import annotations

import uuid

from django.http import HttpRequest, HttpResponse

from streaming_chat.accounts.owners import Owner
from streaming_chat.accounts.permissions import get_permissions
from streaming_chat.protocol.events import text_of
from streaming_chat.rendering.markdown_html import MarkdownBudget, plain

from .lookups import find_message
from .operations import operation
from .responses import Answer, api, require
from .serializers import live_events

# The HTML is filtered, and a page that is opened by itself needs nothing.
_POLICY = "default-src 'none'; sandbox"


@operation(answers={200: "text/html"})
def get_formatted_message(request: HttpRequest, owner: Owner, message_id: uuid.UUID) -> Answer:
    """The text of one message as a piece of HTML: a reply's Markdown, as far as it is written, or a user's plain text."""
    require(get_permissions().may_read(request, owner))
    message = find_message(owner, message_id)
    text = text_of(live_events(message)) if message.is_live else message.text
    html = MarkdownBudget().format(text).html if message.is_reply else plain(text)
    return HttpResponse(html, content_type="text/html; charset=utf-8", headers={"Content-Security-Policy": _POLICY})


formatted_message_view = api(GET=get_formatted_message)
