"""Remove access records after a while, or only what was sought."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from streaming_chat.management.durations import days
from streaming_chat.privacy import retention


class Command(BaseCommand):
    """Some hundred records per statement; safe beside staff who read, and a second one of its kind."""

    help = (
        "Removes, for good, the records of who of the staff read, searched, exported, stopped, redacted or erased what that "
        "are older than so many days; with --terms only the words that were sought, which are text. How long to keep them: "
        "docs/privacy.md."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take how old, --terms and --dry-run."""
        # Never all of them: a slip of the finger would leave nothing to prove.
        parser.add_argument(
            "--older-than", type=days(least=1), required=True, metavar="DAYS", help="Made so long ago; 1 at least."
        )
        parser.add_argument(
            "--terms", action="store_true", help="Remove what was sought; keep who, when and what kind."
        )
        parser.add_argument("--dry-run", action="store_true", help="Print how many there are, and remove none.")

    def handle(self, *args: Any, older_than: timedelta, terms: bool, dry_run: bool, **options: Any) -> None:
        """Print how many."""
        chosen = retention.records_with_terms(older_than) if terms else retention.records(older_than)
        which = "search terms" if terms else "access records"
        if dry_run:
            self.stdout.write(f"{chosen.count()} {which} to remove.")
            return
        remove = retention.forget_terms if terms else retention.remove
        self.stdout.write(f"{sum(remove(chosen))} {which} removed.")
