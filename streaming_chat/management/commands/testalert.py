"""Send a test alert through each configured channel, and say whether it was accepted."""

from __future__ import annotations

import base64
import secrets
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from streaming_chat.alerts.outbox import channels
from streaming_chat.alerts.sender import reason_of, send_through
from streaming_chat.models import Alert
from streaming_chat.signals import alert_raised


class Command(BaseCommand):
    """It sends once, without the database, and waits for the answers."""

    help = (
        "Sends a test alert by the signal alert_raised, to STREAMING_CHAT_ALERT_WEBHOOK_URL and to"
        " STREAMING_CHAT_ALERT_EMAILS, and prints what became of it. Nothing is retried."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add --new-secret."""
        parser.add_argument("--new-secret", action="store_true", help="Only print a new secret for the webhook.")

    def handle(self, *args: Any, new_secret: bool, **options: Any) -> None:
        """Print a line for each channel. Raises CommandError if one has failed, or nothing is configured."""
        if new_secret:
            self.stdout.write(f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}")
            return
        alert = Alert(kind=Alert.Kind.TEST, created_at=timezone.now())
        failed = self._call_receivers(alert)
        configured = channels()
        if not configured:
            self.stdout.write("Neither STREAMING_CHAT_ALERT_WEBHOOK_URL nor STREAMING_CHAT_ALERT_EMAILS is set.")
        failed += [channel for channel in configured if not self._send(channel, alert)]
        if failed:
            raise CommandError(f"The test alert was not accepted by: {', '.join(failed)}.")

    def _call_receivers(self, alert: Alert) -> list[str]:
        answers = alert_raised.send_robust(sender=Alert, alert=alert.pk, kind=alert.kind, data=alert.data)
        failed = [answer for _receiver, answer in answers if isinstance(answer, Exception)]
        self.stdout.write(f"signal: {len(answers)} receivers, {len(failed)} failed")
        return ["signal"] if failed else []

    def _send(self, channel: str, alert: Alert) -> bool:
        try:
            send_through(channel, alert)
        except Exception as error:  # noqa: BLE001  (a site's own email backend may raise anything)
            self.stdout.write(f"{channel}: {reason_of(error)}")
            return False
        self.stdout.write(f"{channel}: accepted")
        return True
