"""Reopen finished reviews: named ones, or those of a reviewer and a time."""

from __future__ import annotations

import uuid
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from streaming_chat.management.arguments import find_owner, moment
from streaming_chat.review.reopening import finished, reopen


class Command(BaseCommand):
    """One conversation per transaction. It may run while staff review, and more than once at the same time."""

    help = (
        "Reopens finished reviews: of the conversations that are named, or of a reviewer and a time. The conversations are "
        "in the queues again; notes and verdicts stay."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the conversations, --by, --since, --until and --dry-run."""
        parser.add_argument("conversations", nargs="*", type=uuid.UUID, metavar="ID", help="Ids of conversations.")
        parser.add_argument("--by", metavar="NAME", help="Username of the reviewer who finished them.")
        parser.add_argument(
            "--since", type=moment, metavar="DATE", help="Finished then or later: 2026-11-01, or a time."
        )
        parser.add_argument("--until", type=moment, metavar="DATE", help="Finished before then.")
        parser.add_argument("--dry-run", action="store_true", help="Only print how many there are.")

    def handle(
        self,
        *args: Any,
        conversations: list[uuid.UUID],
        by: str | None,
        since: str | None,
        until: str | None,
        dry_run: bool,
        **options: Any,
    ) -> None:
        """Print how many were reopened. Raises CommandError if no condition is given, and for an unknown reviewer."""
        if not (conversations or by or since or until):
            raise CommandError("Give ids of conversations, --by, --since or --until.")
        rows = finished(_find_user(by) if by else None, since, until)
        if conversations:
            rows = rows.filter(pk__in=conversations)
        ids = list(rows.order_by("pk").values_list("pk", flat=True))
        if dry_run:
            self.stdout.write(f"{len(ids)} reviews to reopen.")
            return
        self.stdout.write(f"{sum(reopen(pk, None) for pk in ids)} reviews reopened.")


def _find_user(name: str) -> Any:
    user = find_owner(name).user
    if user is None:
        raise CommandError(f"there is no user {name!r}.")
    return user
