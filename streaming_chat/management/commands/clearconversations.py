"""Remove conversations without activity: of visitors, deleted by their owners, without a message, or all."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from streaming_chat.management.arguments import days
from streaming_chat.models import Conversation
from streaming_chat.privacy import deletion


class Command(BaseCommand):
    """A few conversations per transaction. It may run beside workers, and more than once at the same time."""

    help = (
        "Removes conversations without activity for a number of days: those of visitors, those that their owners deleted, "
        "those without a message, or all. Conversations with a live reply stay."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add --anonymous, --deleted, --empty, --all, --older-than and --dry-run."""
        parser.add_argument("--anonymous", action="store_true", help="Conversations of visitors without an account.")
        parser.add_argument(
            "--deleted", action="store_true", help="Conversations that their owners deleted this long ago."
        )
        parser.add_argument("--empty", action="store_true", help="Conversations without a message.")
        parser.add_argument(
            "--all", action="store_true", dest="everything", help="All conversations, also erased ones."
        )
        # Never all of them: a typing error would leave no conversation.
        parser.add_argument(
            "--older-than", type=days(1), required=True, metavar="DAYS", help="Days without activity; at least 1."
        )
        parser.add_argument("--dry-run", action="store_true", help="Only print how many there are.")

    def handle(
        self,
        *args: Any,
        anonymous: bool,
        deleted: bool,
        empty: bool,
        everything: bool,
        older_than: timedelta,
        dry_run: bool,
        **options: Any,
    ) -> None:
        """Print how many of each kind. Raises CommandError if no kind is given."""
        kinds = [
            (anonymous, deletion.of_visitors, "of visitors"),
            (deleted, deletion.deleted, "deleted by their owners"),
            (empty, deletion.empty, "without a message"),
        ]
        if everything:
            kinds = [(True, deletion.inactive, "in total")]
        chosen = [(select(older_than), name) for is_chosen, select, name in kinds if is_chosen]
        if not chosen:
            raise CommandError("Give --anonymous, --deleted, --empty, several of them, or --all.")
        counted = Conversation.objects.none()
        for conversations, name in chosen:
            if dry_run:
                # Each is counted once, as it would be removed once.
                count, counted = conversations.exclude(pk__in=counted.values("pk")).count(), counted | conversations
            else:
                count = sum(deletion.remove(conversations))
            self.stdout.write(f"{count} {name} {'to remove' if dry_run else 'removed'}.")
