"""Fill a database with conversations that look like a site's own: to measure on, and to try out the admin."""

from __future__ import annotations

from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from chatproject import seeds

_MOST = 10_000_000


class Command(BaseCommand):
    """Only adds: what is there stays. Not for a site that people use."""

    help = (
        "Adds made-up conversations of the last 280 days, of 500 users seed000@example.com and of visitors: five messages "
        "each, with endings, tokens, times and feedback, and reviews of some. Nobody can sign in as one of those users."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take how many, and which."""
        parser.add_argument("--conversations", type=_count, default=1_000, metavar="N", help="How many. Default 1000.")
        parser.add_argument("--seed", type=int, default=1, help="Another number gives other conversations.")

    def handle(self, *args: Any, conversations: int, seed: int, **options: Any) -> None:
        """Print how many messages there are so far, after each thousand conversations."""
        messages = 0
        for made in seeds.seed(conversations, timezone.now(), number=seed):
            messages += made
            self.stdout.write(f"\r{messages} messages", ending="")
            self.stdout.flush()
        self.stdout.write(f"\r{conversations} conversations with {messages} messages added.")


def _count(text: str) -> int:
    count = int(text) if text.isascii() and text.isdecimal() else 0
    if not 1 <= count <= _MOST:
        raise ArgumentTypeError(f"Must be a whole number from 1 to {_MOST}, got {text!r}.")
    return count
