"""The models on offer."""

from __future__ import annotations

from django.http import HttpRequest

from streaming_chat.accounts.owners import Owner
from streaming_chat.accounts.permissions import get_permissions
from streaming_chat.conf import conf
from streaming_chat.providers import default_model

from .responses import Answer, api


def list_models(request: HttpRequest, owner: Owner) -> Answer:
    """The models that this owner may use; one of them is the default."""
    return {"results": [{"id": name, "default": name == default_model()} for name in offered_models(request, owner)]}


def offered_models(request: HttpRequest, owner: Owner) -> list[str]:
    """Return the models that this owner may use, with wildcards."""
    permissions = get_permissions()
    return [name for name in conf.STREAMING_CHAT_MODELS if permissions.may_use_model(request, owner, name)]


models_view = api(GET=list_models)
