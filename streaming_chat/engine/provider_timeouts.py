"""How long a provider may take: to the first event, between two reads, after its finish reason, and for the whole reply."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from streaming_chat.conf import conf
from streaming_chat.protocol import endings
from streaming_chat.protocol.endings import Ending
from streaming_chat.providers.base import FINISH_SECONDS, Provider

from .receiver import Receiver


class ReplyTimeouts:
    """One timer a run, which is set again only when it fires, every few seconds: a token costs it nothing."""

    def __init__(self, loop: asyncio.AbstractEventLoop, receiver: Receiver) -> None:
        self._loop = loop
        self._receiver = receiver
        self._measured = receiver.measurements
        self._timer: asyncio.TimerHandle | None = None
        # Where the reply was at the last check, if its provider had named a finish reason by then.
        self._finished_at: int | None = None

    def start(self, stop: Callable[[Ending], object]) -> None:
        """Call `stop` with the ending, once a time has passed."""
        # The deadline may come nearer: to first_event_timeout once the provider is asked, to stall_timeout after an event.
        timeouts = (self._provider.first_event_timeout, self._provider.stall_timeout, FINISH_SECONDS)
        nearest = self._loop.time() + min(timeouts)
        self._timer = self._loop.call_at(min(self._deadline(), nearest), self._check, stop)

    def cancel(self) -> None:
        """Watch no longer."""
        if self._timer is not None:
            self._timer.cancel()

    @property
    def _provider(self) -> Provider:
        return self._receiver.target.provider

    @property
    def _last_moment(self) -> float:
        return self._measured.started_at + conf.STREAMING_CHAT_MAX_REPLY_SECONDS

    def _deadline(self) -> float:
        """Return when the time is up if nothing more is received, by the loop's clock."""
        if self._measured.asked_at is None:
            return self._last_moment
        if self._measured.first_event_at is None or self._receiver.awaits_later_step:
            return min(self._last_moment, self._measured.asked_at + self._provider.first_event_timeout)
        return min(self._last_moment, self._measured.last_bytes_at + self._provider.stall_timeout)

    def _check(self, stop: Callable[[Ending], object]) -> None:
        now, finished = self._loop.time(), self._receiver.finished()
        if now >= self._deadline():
            if now < self._last_moment and self._receiver.fail_over():
                self.start(stop)
            else:
                stop(finished or self._ending(now))
        elif finished and self._receiver.position == self._finished_at:
            # Heartbeats may come for ever.
            stop(finished)
        else:
            self._finished_at = self._receiver.position if finished else None
            self.start(stop)

    def _ending(self, now: float) -> Ending:
        if self._measured.first_event_at is None:
            return endings.broken("provider_timeout", received=False)
        if now >= self._last_moment:
            return endings.completed("length_cap")
        return endings.broken("provider_stall", received=True)
