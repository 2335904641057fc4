"""Count the replies of the days that are over, for the dashboard in the admin."""

from __future__ import annotations

from argparse import ArgumentTypeError
from datetime import date
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from streaming_chat.usage import rollups


class Command(BaseCommand):
    """One short transaction for each day; safe beside running workers, and to repeat."""

    help = (
        "Keeps sums of each day (UTC) that is over: replies, endings, times, tokens, cost, feedback. Counts what is missing "
        f"and, since feedback comes late, the last {rollups.AGAIN_DAYS} days again. Run it each night."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take where to begin, and whether to count again."""
        parser.add_argument(
            "--since", type=_day, metavar="YYYY-MM-DD", help="The first day; by default the oldest message's."
        )
        parser.add_argument(
            "--rebuild",
            action="store_true",
            help="Count again the days that have been counted. What was removed since then is missing afterwards.",
        )

    def handle(self, *args: Any, since: date | None, rebuild: bool, verbosity: int, **options: Any) -> None:
        """Print each day, then how many they were."""
        days = replies = 0
        for day, count in rollups.roll_up(since, rebuild=rebuild):
            days, replies = days + 1, replies + count
            if verbosity > 1:
                self.stdout.write(f"{day}: {count} replies")
        self.stdout.write(f"{days} days counted, {replies} replies.")


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"a day as YYYY-MM-DD was wanted, got {text!r}.") from None
