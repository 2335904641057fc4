"""What a tool returns, as text for the model."""

from __future__ import annotations

import json
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Model, QuerySet


def result_text(result: Any) -> str:
    """Return a string as it is, "" for None, and everything else as JSON. Raises TypeError for what is not JSON."""
    if result is None:
        return ""
    return result if isinstance(result, str) else json.dumps(result, cls=_Encoder, ensure_ascii=False)


class _Encoder(DjangoJSONEncoder):
    """Django's, which knows dates, decimals, UUIDs and lazy texts; and querysets of values, sets and pydantic's models."""

    def default(self, o: Any) -> Any:
        if hasattr(o, "model_dump") and not isinstance(o, type):
            return o.model_dump(mode="json")
        if isinstance(o, set | frozenset | QuerySet):
            return list(o)
        if isinstance(o, Model):
            raise TypeError(f"A {type(o).__name__} is not JSON: return the fields that the model may see, as a dict.")
        return super().default(o)
