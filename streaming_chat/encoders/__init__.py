"""Encoders: each turns events into one wire format. A request chooses one by its name, with `?format=`.

STREAMING_CHAT_ENCODERS adds formats of a site's own. A module is imported when its format is first asked for.
"""

from __future__ import annotations

from importlib.util import find_spec

from django.utils.module_loading import import_string

from streaming_chat.conf import conf

from .base import Encoder

DEFAULT_FORMAT = "simple"

_ENCODERS = {
    "simple": "streaming_chat.encoders.simple.SimpleEncoder",
    "text": "streaming_chat.encoders.text.TextEncoder",
    "ndjson": "streaming_chat.encoders.ndjson.NDJSONEncoder",
    "html": "streaming_chat.encoders.html.HTMLEncoder",
    "ag_ui": "streaming_chat.encoders.ag_ui.AGUIEncoder",
    "openai": "streaming_chat.encoders.openai.OpenAIEncoder",
    "ai_sdk": "streaming_chat.encoders.ai_sdk.AISDKEncoder",
}
# Of the extra `output`.
if find_spec("jiter"):
    _ENCODERS["json"] = "streaming_chat.encoders.growing_object.GrowingObjectEncoder"

__all__ = ["DEFAULT_FORMAT", "Encoder", "encoder_named", "formats"]


def formats() -> list[str]:
    """Return the names of the formats."""
    return list(_ENCODERS | conf.STREAMING_CHAT_ENCODERS)


def encoder_named(name: str) -> type[Encoder]:
    """Return the encoder of a format. Raises KeyError for an unknown name."""
    return import_string((_ENCODERS | conf.STREAMING_CHAT_ENCODERS)[name])


def problem_with(name: object, path: object) -> str:
    """Return why a format cannot be used, "" if it can."""
    if not isinstance(name, str) or not name.isidentifier():
        return "its name must have letters, digits and _ only"
    if not isinstance(path, str):
        return f"it must be a dotted path, got {type(path).__name__}"
    try:
        found = import_string(path)
    except ImportError as error:
        return str(error).rstrip(".")
    return "" if isinstance(found, type) and issubclass(found, Encoder) else f"{path} is not a subclass of Encoder"
