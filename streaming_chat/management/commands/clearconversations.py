"""Remove visitors' conversations that nobody has claimed, those that owners deleted, or all of them, after a while."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from streaming_chat.management.durations import days
from streaming_chat.models import ConversationQuerySet
from streaming_chat.privacy import cleanup


class Command(BaseCommand):
    """A few conversations per transaction; safe beside running workers and a second one of its kind."""

    help = (
        "Removes, for good, the conversations that had no activity for so many days: those of visitors, which is how a chat "
        "expires that nobody has claimed, those that their owners deleted, or all. None with a reply that is being written."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take which, how old, and --dry-run."""
        parser.add_argument("--anonymous", action="store_true", help="Those of visitors without an account.")
        parser.add_argument("--deleted", action="store_true", help="Those that were marked as deleted so long ago.")
        parser.add_argument("--all", action="store_true", dest="everything", help="Whosever they are, erased ones too.")
        parser.add_argument(
            "--older-than", type=days(), required=True, metavar="DAYS", help="Without activity for so long."
        )
        parser.add_argument("--dry-run", action="store_true", help="Print how many there are, and remove none.")

    def handle(
        self,
        *args: Any,
        anonymous: bool,
        deleted: bool,
        everything: bool,
        older_than: timedelta,
        dry_run: bool,
        **options: Any,
    ) -> None:
        """Print how many of each kind. Raises CommandError when none is named."""
        if not (anonymous or deleted or everything):
            raise CommandError("Name which: --anonymous, --deleted or both, or --all.")
        if everything:
            self._clear(cleanup.everything(older_than), "in all", dry_run=dry_run)
            return
        if anonymous:
            self._clear(cleanup.of_visitors(older_than), "of visitors", dry_run=dry_run)
        if deleted:
            marked = cleanup.deleted(older_than)
            # One that a visitor deleted is counted once.
            rest = marked.exclude(owner_key__startswith="v:") if anonymous else marked
            self._clear(rest, "deleted by their owners", dry_run=dry_run)

    def _clear(self, conversations: ConversationQuerySet, which: str, *, dry_run: bool) -> None:
        count = conversations.count() if dry_run else sum(cleanup.remove(conversations))
        self.stdout.write(f"{count} {which} {'to remove' if dry_run else 'removed'}.")
