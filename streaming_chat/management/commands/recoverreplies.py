"""Save the endings in the journal, and end the replies of dead workers with what was saved of them."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from streaming_chat.conf import conf
from streaming_chat.db.alias import live_database
from streaming_chat.engine.ending_journal import journal
from streaming_chat.engine.recovery import recover_reply
from streaming_chat.models import LiveReply

_POLL_SECONDS = 1.0


class Command(BaseCommand):
    """One reply per transaction. It may run beside workers, and more than once at the same time."""

    help = (
        "Saves the endings in JOURNAL_DIR, then ends the replies of dead workers with what was saved of them, and prints "
        "their ids. After a database outage every lease has expired, also those of running workers, which renew them within "
        "a second. So it waits for LEASE_SECONDS, and ends the replies whose lease nobody has renewed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add --now and --dry-run."""
        parser.add_argument("--now", action="store_true", help="Do not wait. Use this only if no worker is running.")
        parser.add_argument("--dry-run", action="store_true", help="Only print what would be done.")

    def handle(self, *args: Any, now: bool, dry_run: bool, **options: Any) -> None:
        """Print an id per line, then how many. It never prints text."""
        saved = journal.names() if dry_run else [str(pk) for pk in journal.replay()[0]]
        for name in saved:
            self.stdout.write(name)
        recovered = 0
        for live in self._expired() if now else self._unrenewed():
            # In a dry run, replies in the journal have an expired lease, too.
            if str(live.pk) not in saved and (dry_run or recover_reply(live)):
                self.stdout.write(str(live.pk))
                recovered += 1
        text = "{} to save, {} to recover." if dry_run else "{} saved, {} recovered."
        self.stdout.write(text.format(len(saved), recovered))

    def _unrenewed(self) -> list[LiveReply]:
        """Return the expired replies whose lease nobody renews for LEASE_SECONDS."""
        live_replies = self._expired()
        until = time.monotonic() + conf.STREAMING_CHAT_LEASE_SECONDS
        while live_replies and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _POLL_SECONDS))
            seen = {live.pk: live.expires_at for live in self._expired()}
            # A lease that was renewed and has expired again belongs to a running worker.
            live_replies = [live for live in live_replies if seen.get(live.pk) == live.expires_at]
        return live_replies

    def _expired(self) -> list[LiveReply]:
        return list(LiveReply.objects.using(live_database()).expired().order_by("expires_at", "pk"))
