"""Unknown addresses below `api/`."""

from __future__ import annotations

from django.http import HttpRequest

from streaming_chat.accounts.owners import Owner

from .responses import Answer, api, require_found


def not_found(request: HttpRequest, owner: Owner) -> Answer:
    """404 in JSON, as for an unknown id, in place of a page of the site's."""
    return require_found(None)


unknown_view = api(**dict.fromkeys(("GET", "POST", "PUT", "PATCH", "DELETE"), not_found))
