"""Let the search find what it does not know, and take out of its file what deletions have left."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from streaming_chat.db.alias import live_database
from streaming_chat.search import backends, rebuild


class Command(BaseCommand):
    """In small transactions; safe beside running workers, and goes on where it was broken off."""

    help = (
        "Adds the texts to the search that are not in it: once on a site that had messages before, and each night if you "
        "like, since it also takes the words of what was deleted out of SQLite's file."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take --again."""
        parser.add_argument(
            "--again", action="store_true", help="Forget everything first. The search finds little until it is done."
        )

    def handle(self, *args: Any, again: bool, **options: Any) -> None:
        """Print how many were added so far. Raises CommandError when the database cannot search texts."""
        using = live_database()
        if again:
            rebuild.clear(using)
        added = 0
        for count in rebuild.rebuild(using):
            added += count
            self.stdout.write(f"\r{added} texts added", ending="")
            self.stdout.flush()
        self.stdout.write(f"\r{added} texts added.   ")
        if not backends.is_available(using):
            raise CommandError("This SQLite has no FTS5, so texts cannot be searched.")
