"""The models on offer."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from streaming_chat.accounts.owners import Owner
from streaming_chat.accounts.permissions import get_permissions
from streaming_chat.conf import conf
from streaming_chat.providers import default_model
from streaming_chat.providers.model_options import label_of, options_of

from .operations import operation
from .responses import Answer, api


@operation(answers={200: "Models"})
def list_models(request: HttpRequest, owner: Owner) -> Answer:
    """The models that this owner may use; one of them is the default."""
    return {"results": [_shown(name) for name in offered_models(request, owner)]}


def _shown(name: str) -> dict[str, Any]:
    options = options_of(name)
    return {
        "id": name,
        "label": label_of(name),
        "description": str(options.description),
        "effort": options.effort,
        "efforts": list(options.efforts),
        "default": name == default_model(),
    }


def offered_models(request: HttpRequest, owner: Owner) -> list[str]:
    """Return the models that this owner may use, with wildcards."""
    permissions = get_permissions()
    return [name for name in conf.STREAMING_CHAT_MODELS if permissions.may_use_model(request, owner, name)]


models_view = api(GET=list_models)
