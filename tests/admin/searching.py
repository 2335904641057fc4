"""Searches as the admin's own forms send them, for tests that use Django's client."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

LIST = "/admin/streaming_chat/conversation/"


def keep(client: Any, words: str, path: str = LIST) -> str:
    """Send the words of a search of this list, and return the id that addresses have in their place; "" for none."""
    response = client.post(f"{path}find/", {"q": words})

    assert response.status_code == 302
    return parse_qs(urlsplit(response["Location"]).query).get("q", [""])[0]


def kept(client: Any, query: dict[str, Any], path: str = LIST) -> dict[str, Any]:
    """Return a query of this list with the id of a search in place of its words."""
    return {**query, "q": keep(client, query["q"], path)} if "q" in query else query
