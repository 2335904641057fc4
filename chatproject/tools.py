"""Tools that the models of the example site may call (docs/tools.md): one that reads, and one that asks the user first."""

from __future__ import annotations

from typing import Annotated

from django.db.models import Q
from pydantic import Field

from streaming_chat.tools import Toolbox, ToolContext, ToolError

from .models import Passage

_MOST_CHARS = 300

tools = Toolbox()


@tools.tool
def find_passages(
    context: ToolContext,
    word: Annotated[str, Field(min_length=3, max_length=50, examples=["drawer"])],
    limit: Annotated[int, Field(ge=1, le=5)] = 2,
) -> list[dict[str, str]]:
    """Find passages of the articles on this site that contain a word.

    Args:
        word: One word, in English.
        limit: The number of passages.
    """
    found = Passage.objects.filter(Q(title__icontains=word) | Q(text__icontains=word)).order_by("pk")[:limit]
    return [{"title": passage.title, "text": passage.text[:_MOST_CHARS]} for passage in found]


@tools.tool(effect="write", approval=True, editable=True)
def change_name(
    context: ToolContext, name: Annotated[str, Field(min_length=1, max_length=150, examples=["Ada Lovelace"])]
) -> str:
    """Change the first name of the user, which the admin of this site shows.

    Args:
        name: The new name.
    """
    user = context.user()
    if user is None:
        raise ToolError("Visitors have no name. Ask the user to sign in.")
    user.first_name = name
    user.save(update_fields=["first_name"])
    return f"The name of the user is {name!r} now."
