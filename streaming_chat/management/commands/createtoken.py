"""Create an access token for a user, and print it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from streaming_chat.accounts.access_tokens import create_token, has_room
from streaming_chat.management.arguments import days, find_owner
from streaming_chat.models import AccessToken


class Command(BaseCommand):
    """The token is the only line of its output, for scripts."""

    help = (
        "Creates an access token for a user, and prints it; it cannot be printed again. A program sends it to the API in "
        "the header `Authorization: Bearer TOKEN`, and acts as that user."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the user, --name, --scope and --days."""
        parser.add_argument("user", metavar="USER", help="A username, or an owner key u:<pk>.")
        parser.add_argument("--name", required=True, help="What the token is for.")
        parser.add_argument("--scope", choices=AccessToken.Scope.values, default=AccessToken.Scope.CHAT.value)
        parser.add_argument("--days", type=days(), help="When it expires; by default, it does not.")

    def handle(self, *args: Any, user: str, name: str, scope: str, days: timedelta | None, **options: Any) -> None:
        """Print the token. Raises CommandError for an unknown user, and one with too many tokens."""
        owner = find_owner(user).user
        if owner is None:
            raise CommandError(f"only a user can have a token, got {user!r}.")
        if not has_room(owner):
            raise CommandError(f"{user} has too many access tokens. Revoke one first.")
        if not 1 <= len(name) <= 100:
            raise CommandError("--name must have 1 to 100 characters.")
        expires_at = timezone.now() + days if days is not None else None
        row = AccessToken(owner=owner, name=name, scope=scope, expires_at=expires_at)
        self.stdout.write(create_token(row))
