"""Count the replies of the days that are over, for the statistics in the admin."""

from __future__ import annotations

from datetime import date
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from streaming_chat.management.arguments import day
from streaming_chat.usage import rollups


class Command(BaseCommand):
    """One short transaction per day. It may run beside workers, and may be repeated."""

    help = (
        "Saves the sums of each day (UTC) that is over: replies, endings, times, tokens, cost, feedback. It counts "
        f"missing days and, since feedback comes late, the last {rollups.RECOUNTED_DAYS} days again. Run it every night."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add --since and --rebuild."""
        parser.add_argument(
            "--since", type=day, metavar="YYYY-MM-DD", help="The first day. Default: that of the oldest message."
        )
        parser.add_argument(
            "--rebuild",
            action="store_true",
            help="Count all days again. Replies that were removed since are missing then.",
        )

    def handle(self, *args: Any, since: date | None, rebuild: bool, verbosity: int, **options: Any) -> None:
        """Print the number of days and replies; with --verbosity 2, each day."""
        days = replies = 0
        for counted_day, count in rollups.roll_up(since, rebuild=rebuild):
            days, replies = days + 1, replies + count
            if verbosity > 1:
                self.stdout.write(f"{counted_day}: {count} replies")
        self.stdout.write(f"{days} days counted, {replies} replies.")
