"""Sends the alerts in the table, through one background thread in each process, and checks the thresholds.

Each attempt belongs to one process: it takes the alert by writing when it is tried next, so that another process goes on if
this one dies. What a receiver has accepted is not sent again. Only if a process dies between the answer and its commit, the
receiver gets the alert twice, with the same id.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_started
from django.db import DatabaseError, InterfaceError, connections
from django.db.models import F, Min
from django.db.models.functions import Now
from django.utils import timezone

from streaming_chat.background_threads import BackgroundThread
from streaming_chat.db.alias import live_database
from streaming_chat.logs import describe, logger
from streaming_chat.models import Alert
from streaming_chat.signals import reply_ended

from . import email, thresholds, webhook
from .outbox import alert_saved, channels

# Seconds from each attempt that failed to the next; after the last one, the alert is given up, a day after the first.
_DELAYS = (5, 30, 120, 600, 3_600, 10_800, 21_600, 43_200)
# For so many seconds an alert belongs to the process that took it. Longer than all attempts of one turn.
_LEASE_SECONDS = 120
# Another process may have left an alert: the longest time in seconds until it is found.
_POLL_SECONDS = 30.0
# The database's clock may be behind: what is due by this process's clock is looked at again after so many seconds.
_SHORTEST_WAIT_SECONDS = 0.5
# Shortest time in seconds between two checks of the thresholds, which read the replies of a day.
_CHECK_SECONDS = 15.0

_CHANNELS: dict[str, Callable[[Alert], None]] = {"webhook": webhook.send, "email": email.send}


def send_through(channel: str, alert: Alert) -> None:
    """Send an alert. Blocking. Raises an Exception of any class if it was not accepted."""
    _CHANNELS[channel](alert)


class Sender:
    """The thread of a process. Its methods may be called from any thread."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew, in a child of a fork: the thread is the parent's."""
        self._wake = threading.Event()
        self._is_check_due = False
        self._next_check = 0.0
        self._thread = BackgroundThread("streaming_chat.alerts", self._turn)

    def start(self) -> None:
        """Start the thread, if alerts can be sent or raised. Others may have left some."""
        if _is_on():
            self._thread.start()

    def send_soon(self) -> None:
        """Send what is in the table: there is a new alert."""
        self.start()
        self._wake.set()

    def check_soon(self) -> None:
        """Check the thresholds: a reply has ended. The thread is woken once for all replies that end until the check."""
        if not self._is_check_due:
            self._is_check_due = True
            self.send_soon()

    def _turn(self) -> None:
        seconds: float | None
        try:
            seconds = self._work() if _is_on() else None
        except (DatabaseError, InterfaceError) as error:
            logger.warning("The database is away; alerts wait: %s", describe(error))
            seconds = _POLL_SECONDS
        finally:
            connections.close_all()
        self._wake.wait(seconds)
        self._wake.clear()

    def _work(self) -> float:
        """Do what is due; return in how many seconds there is more."""
        if self._is_check_due and time.monotonic() >= self._next_check:
            self._is_check_due = False
            self._next_check = time.monotonic() + _CHECK_SECONDS
            thresholds.check()
        deliver_due()
        seconds = _seconds_until_due()
        if self._is_check_due:
            seconds = min(seconds, self._next_check - time.monotonic())
        return max(seconds, _SHORTEST_WAIT_SECONDS)


sender = Sender()
# Servers fork after they have imported us.
os.register_at_fork(after_in_child=sender.reset)


def _is_on() -> bool:
    return bool(channels()) or thresholds.are_set()


def deliver_due() -> None:
    """Send the alerts that are due. Blocking."""
    using = live_database()
    while (alert := _take(using)) is not None:
        _deliver(alert, using)


def _take(using: str) -> Alert | None:
    """Return an alert that no other process is sending; None if there is none."""
    due = Alert.objects.using(using).filter(next_attempt_at__lte=Now()).order_by("next_attempt_at")
    while (alert := due.first()) is not None:
        taken = due.order_by().filter(pk=alert.pk, attempts=alert.attempts)
        if taken.update(attempts=F("attempts") + 1, next_attempt_at=Now() + timedelta(seconds=_LEASE_SECONDS)):
            alert.attempts += 1
            return alert
    return None


def _deliver(alert: Alert, using: str) -> None:
    for channel in tuple(alert.pending):
        try:
            send_through(channel, alert)
        except Exception as error:  # noqa: BLE001  (a site's own email backend may raise anything)
            logger.warning("Alert %s was not sent by %s: %s", alert.pk, channel, reason_of(error))
        else:
            alert.pending.remove(channel)
            # At once: it must not be sent again if the next channel takes long.
            _taken(alert, using).update(pending=alert.pending)
    _plan_next(alert, using)


def _plan_next(alert: Alert, using: str) -> None:
    next_attempt_at: Any = None
    if alert.pending and alert.attempts <= len(_DELAYS):
        next_attempt_at = Now() + timedelta(seconds=_DELAYS[alert.attempts - 1])
    elif alert.pending:
        logger.error("Alert %s is given up after %d attempts.", alert.pk, alert.attempts)
    _taken(alert, using).update(next_attempt_at=next_attempt_at)


def _taken(alert: Alert, using: str) -> Any:
    """Return the row of an alert, unless another process has taken it since."""
    return Alert.objects.using(using).filter(pk=alert.pk, attempts=alert.attempts)


def reason_of(error: Exception) -> str:
    """Return why an alert was not sent, without the text of others."""
    return str(error) if isinstance(error, webhook.DeliveryError) else type(error).__name__


def _seconds_until_due() -> float:
    first = Alert.objects.using(live_database()).aggregate(first=Min("next_attempt_at"))["first"]
    if first is None:
        return _POLL_SECONDS
    return min((first - timezone.now()).total_seconds(), _POLL_SECONDS)


def connect() -> None:
    """Begin with a server's first request, since alerts may have been left. Check thresholds when replies have ended."""
    alert_saved.register(sender.send_soon)
    request_started.connect(_on_request, dispatch_uid=__name__)
    # A receiver costs each ending a thread's turn, also if it does nothing.
    if thresholds.are_set():
        reply_ended.connect(_on_ending, dispatch_uid=__name__)


def _on_request(*, sender: type, **kwargs: Any) -> None:
    if issubclass(sender, ASGIHandler | WSGIHandler):
        request_started.disconnect(dispatch_uid=__name__)
        _start()


def _start() -> None:
    sender.start()


def _on_ending(**kwargs: Any) -> None:
    sender.check_soon()
