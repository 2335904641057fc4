"""`GET v1/models`: the models on offer, as OpenAI lists them."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from streaming_chat.accounts.owners import Owner
from streaming_chat.providers import split_model
from streaming_chat.views import in_thread
from streaming_chat.views.api.available_models import offered_models
from streaming_chat.views.api.operations import operation
from streaming_chat.views.api.responses import Answer

from .answers import openai_view


@operation(
    answers={200: "OpenAIModels"},
    failures=dict.fromkeys((401, 403, 429, 500, 503), "OpenAIError"),
    bearer_only=True,
)
def list_models(request: HttpRequest, owner: Owner) -> Answer:
    """The models that this owner may use by name. A wildcard is no name."""
    names = [name for name in offered_models(request, owner) if not name.endswith(":*")]
    return {"object": "list", "data": [_shown(name) for name in names]}


def _shown(name: str) -> dict[str, Any]:
    # Clients require a time; the app knows none.
    return {"id": name, "object": "model", "created": 0, "owned_by": split_model(name)[0]}


models_view = openai_view(in_thread.always, GET=list_models)
