"""Encoders: events in, one wire format out. This module finds them by the name a request asks for."""

from __future__ import annotations

from .base import Encoder
from .simple import SimpleEncoder

ENCODERS: dict[str, type[Encoder]] = {"simple": SimpleEncoder}

__all__ = ["ENCODERS", "Encoder"]
