"""Encoders: each turns events into one wire format. A request chooses one by its name, with `?format=`."""

from __future__ import annotations

from .base import Encoder
from .simple import SimpleEncoder

# A site adds its own in AppConfig.ready(): docs/write-your-own/encoder.md.
ENCODERS: dict[str, type[Encoder]] = {"simple": SimpleEncoder}

__all__ = ["ENCODERS", "Encoder"]
