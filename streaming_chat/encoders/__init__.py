"""Encoders: each turns events into one wire format. A request chooses one by its name, with `?format=`."""

from __future__ import annotations

from importlib.util import find_spec

from .base import Encoder
from .growing_object import GrowingObjectEncoder
from .simple import SimpleEncoder

# A site adds its own in AppConfig.ready(): docs/write-your-own/encoder.md.
ENCODERS: dict[str, type[Encoder]] = {"simple": SimpleEncoder}
# Of the extra `output`.
if find_spec("jiter"):
    ENCODERS["json"] = GrowingObjectEncoder

__all__ = ["ENCODERS", "Encoder"]
