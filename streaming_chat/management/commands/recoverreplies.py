"""Save the endings that wait in JOURNAL_DIR, and end the replies whose worker died, with what was saved of them."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from streaming_chat.conf import conf
from streaming_chat.db.alias import live_database
from streaming_chat.engine.journal import journal
from streaming_chat.engine.recovery import recover_reply
from streaming_chat.models import LiveReply

_LOOK_SECONDS = 1.0


class Command(BaseCommand):
    """One reply per transaction; safe beside running workers and a second one of its kind."""

    help = (
        "Saves the endings that wait in JOURNAL_DIR, then ends the replies whose worker died, with what was saved of them, "
        "and prints their ids. After an outage of the database every lease has run out, also those of workers that live "
        "and renew them within a second: so it waits for LEASE_SECONDS, and ends those that were not renewed meanwhile."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take --now and --dry-run."""
        parser.add_argument("--now", action="store_true", help="Do not wait: when it is known that no worker lives.")
        parser.add_argument("--dry-run", action="store_true", help="Print what would be done, and change nothing.")

    def handle(self, *args: Any, now: bool, dry_run: bool, **options: Any) -> None:
        """Print one id a line, then how many; never text."""
        saved = journal.names() if dry_run else [str(pk) for pk in journal.replay()[0]]
        for name in saved:
            self.stdout.write(name)
        recovered = 0
        for live in self._expired() if now else self._watch():
            # Before they are saved, those that wait have run out, too.
            if str(live.pk) not in saved and (dry_run or recover_reply(live)):
                self.stdout.write(str(live.pk))
                recovered += 1
        done = "{} to save, {} to recover." if dry_run else "{} saved, {} recovered."
        self.stdout.write(done.format(len(saved), recovered))

    def _watch(self) -> list[LiveReply]:
        """Return those whose lease is not renewed for LEASE_SECONDS."""
        lives = self._expired()
        until = time.monotonic() + conf.STREAMING_CHAT_LEASE_SECONDS
        while lives and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _LOOK_SECONDS))
            seen = {live.pk: live.expires_at for live in self._expired()}
            # One that was renewed and has run out again had a worker who lived.
            lives = [live for live in lives if seen.get(live.pk) == live.expires_at]
        return lives

    def _expired(self) -> list[LiveReply]:
        return list(LiveReply.objects.using(live_database()).expired().order_by("expires_at", "pk"))
