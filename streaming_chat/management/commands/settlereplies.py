"""End the replies whose worker died, with what was saved of them."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from streaming_chat.models import LiveReply, live_database


class Command(BaseCommand):
    """One reply per transaction; safe beside running workers and a second one of its kind."""

    help = "Ends replies whose worker died, with what was saved of them, and prints their ids."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take --dry-run."""
        parser.add_argument("--dry-run", action="store_true", help="Print them and change nothing.")

    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        """Print one id a line, then how many; never text."""
        count = 0
        for live in self._expired():
            if dry_run or live.settle():
                self.stdout.write(str(live.pk))
                count += 1
        self.stdout.write(f"{count} to settle." if dry_run else f"{count} settled.")

    def _expired(self) -> list[LiveReply]:
        return list(LiveReply.objects.using(live_database()).expired().order_by("expires_at", "pk"))
