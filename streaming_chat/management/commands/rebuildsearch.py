"""Add missing texts to the search index, and remove from its file what deletions have left."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from streaming_chat.db.alias import live_database
from streaming_chat.search import entries


class Command(BaseCommand):
    """Small transactions. It may run beside workers, and continues an interrupted run."""

    help = (
        "Adds missing texts to the search index: once on a site with older messages, and every night if you like, since on "
        "SQLite it also removes the words of deleted texts from the file."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add --again."""
        parser.add_argument(
            "--again", action="store_true", help="Delete the index first. The search finds little until this is done."
        )

    def handle(self, *args: Any, again: bool, **options: Any) -> None:
        """Print how many were added so far."""
        using = live_database()
        if again:
            entries.clear(using)
        added = 0
        for count in entries.rebuild(using):
            added += count
            self.stdout.write(f"\r{added} texts added", ending="")
            self.stdout.flush()
        self.stdout.write(f"\r{added} texts added.   ")
