"""Something that fails and heals: one warning when it begins, one line when it is over, however often it is tried."""

from __future__ import annotations

from streaming_chat.logs import logger


class Trouble:
    """Says once that something fails, and once that it works again."""

    def __init__(self, fails: str, works: str) -> None:
        self._fails, self._works = fails, works
        self.is_on = False

    def begin(self, why: str) -> bool:
        """Note that it fails; whether that is new."""
        if self.is_on:
            return False
        self.is_on = True
        logger.warning(self._fails, why)
        return True

    def end(self) -> None:
        """Note that it works."""
        if self.is_on:
            self.is_on = False
            logger.info(self._works)
