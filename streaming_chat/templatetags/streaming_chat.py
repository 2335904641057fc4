"""`{% load streaming_chat %}{% streaming_chat %}`: a chat in any template of the site."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils.safestring import SafeString

from streaming_chat.rendering.element import LAYOUTS, render_element

register = template.Library()

_COUNT = "streaming_chat_elements"


@register.simple_tag(takes_context=True)
def streaming_chat(context: template.Context, layout: str = "box", **options: Any) -> SafeString:
    """Render a chat for the user of the page.

    layout: `box` fills its place in the page, `corner` is a button in the corner that opens it, `page` fills the window.
    options: conversation (id of the one to open), label (its accessible name, if the page has several chats), heading (its
    title before the first message), level (of its heading, 1 to 5), name (of the element, unique on the page), suggestions
    (what an empty chat suggests, in place of STREAMING_CHAT_SUGGESTIONS), metadata (a dict about the page, for PROMPT
    and the staff), greeting (what the assistant says first).
    Raises TemplateSyntaxError without a request, and for an unknown layout or option or an invalid value.
    """
    request = getattr(context, "request", None) or context.get("request")
    if request is None:
        raise template.TemplateSyntaxError(
            "{% streaming_chat %} needs the request: render the template with it, as django.shortcuts.render does."
        )
    if layout not in LAYOUTS:
        raise template.TemplateSyntaxError(f"layout must be one of {', '.join(LAYOUTS)}, got {layout!r}.")
    # Counted on the request: an included template may have a context of its own.
    number = getattr(request, _COUNT, 0) + 1
    setattr(request, _COUNT, number)
    try:
        return render_element(request, layout=layout, number=number, **options)
    except (TypeError, ValueError) as error:
        raise template.TemplateSyntaxError(f"{{% streaming_chat %}}: {error}.") from error
