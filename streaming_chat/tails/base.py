"""What a tail promises: what is known of a reply beyond a position, from wherever it is written."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from typing import Any, NamedTuple

from streaming_chat.events import Event


class Reading(NamedTuple):
    """What a look at a reply found.

    events: those after the position asked for, to the reply's cut. end: the ending's payload once it is saved, and
    end_position where the reply then ends: before the position asked for, if a stop cut it off there. exists: False when
    there is no such reply any more.
    """

    events: list[Event]
    end: dict[str, Any] | None = None
    end_position: int = 0
    exists: bool = True


class Tail(ABC):
    """Reads replies that this process does not write."""

    @abstractmethod
    def read(self, message_id: uuid.UUID, position: int) -> Reading:
        """Return what follows `position` (1 is after the start). Blocking."""

    @abstractmethod
    def follow(self, message_id: uuid.UUID) -> None:
        """Tell the writing process that somebody follows, so that it does not count as deserted. Blocking."""
