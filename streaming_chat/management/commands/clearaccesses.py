"""Remove old access records, or only their search terms."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from streaming_chat.management.arguments import days
from streaming_chat.privacy import audit


class Command(BaseCommand):
    """Removes some hundred records per statement. It may run while staff read, and more than once at the same time."""

    help = (
        "Removes access records (which member of staff read, searched, exported, stopped, redacted or erased what) that are "
        "older than a number of days. With --terms it removes only the search terms, which are text. docs/privacy.md says "
        "how long to keep them."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add --older-than, --terms and --dry-run."""
        # Never all of them: a typing error would leave nothing to prove.
        parser.add_argument(
            "--older-than", type=days(1), required=True, metavar="DAYS", help="Age of the records; at least 1."
        )
        parser.add_argument("--terms", action="store_true", help="Remove only the search terms.")
        parser.add_argument("--dry-run", action="store_true", help="Only print how many there are.")

    def handle(self, *args: Any, older_than: timedelta, terms: bool, dry_run: bool, **options: Any) -> None:
        """Print how many were removed."""
        rows = audit.records_with_terms(older_than) if terms else audit.records(older_than)
        kind = "search terms" if terms else "access records"
        if dry_run:
            self.stdout.write(f"{rows.count()} {kind} to remove.")
            return
        remove = audit.clear_terms if terms else audit.remove
        self.stdout.write(f"{sum(remove(rows))} {kind} removed.")
