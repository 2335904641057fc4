"""Remove conversations without activity: those of visitors, those that owners deleted, or all."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from streaming_chat.management.arguments import days
from streaming_chat.models import ConversationQuerySet
from streaming_chat.privacy import deletion


class Command(BaseCommand):
    """A few conversations per transaction. It may run beside workers, and more than once at the same time."""

    help = (
        "Removes conversations without activity for a number of days: those of visitors, those that their owners deleted, "
        "or all. Conversations with a live reply stay."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add --anonymous, --deleted, --all, --older-than and --dry-run."""
        parser.add_argument("--anonymous", action="store_true", help="Conversations of visitors without an account.")
        parser.add_argument(
            "--deleted", action="store_true", help="Conversations that their owners deleted this long ago."
        )
        parser.add_argument(
            "--all", action="store_true", dest="everything", help="All conversations, also erased ones."
        )
        parser.add_argument("--older-than", type=days(), required=True, metavar="DAYS", help="Days without activity.")
        parser.add_argument("--dry-run", action="store_true", help="Only print how many there are.")

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
        """Print how many of each kind. Raises CommandError if no kind is given."""
        if not (anonymous or deleted or everything):
            raise CommandError("Give --anonymous, --deleted, both, or --all.")
        if everything:
            self._clear(deletion.inactive(older_than), "in total", dry_run=dry_run)
            return
        if anonymous:
            self._clear(deletion.of_visitors(older_than), "of visitors", dry_run=dry_run)
        if deleted:
            rows = deletion.deleted(older_than)
            # A visitor's deleted conversation is counted once.
            rest = rows.exclude(owner_key__startswith="v:") if anonymous else rows
            self._clear(rest, "deleted by their owners", dry_run=dry_run)

    def _clear(self, conversations: ConversationQuerySet, kind: str, *, dry_run: bool) -> None:
        count = conversations.count() if dry_run else sum(deletion.remove(conversations))
        self.stdout.write(f"{count} {kind} {'to remove' if dry_run else 'removed'}.")
