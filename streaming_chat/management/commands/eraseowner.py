"""Erase an owner: remove all their text and their name; the numbers stay."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from streaming_chat.management.arguments import find_owner
from streaming_chat.models import AccessRecord
from streaming_chat.privacy import erasures
from streaming_chat.privacy.audit import account_name, record


class Command(BaseCommand):
    """It may run beside workers, and may be repeated."""

    help = (
        "Erases an owner: stops their live replies, removes the text and the owner of all their conversations, including "
        "deleted ones, their access tokens, share links, quota counts and usage, the reason of a block, and the terms of "
        "searches for them. The user remains: deactivate it first, so that nothing new is written, and delete it "
        "afterwards. docs/privacy.md says what remains elsewhere."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the owner and --dry-run."""
        parser.add_argument("owner", metavar="OWNER", help="A username, or an owner key: u:<pk> or v:<hmac>.")
        parser.add_argument("--dry-run", action="store_true", help="Only print what there is.")

    def handle(self, *args: Any, owner: str, dry_run: bool, **options: Any) -> None:
        """Print how much. Raises CommandError for an unknown owner, and if something could not be erased."""
        found = find_owner(owner)
        data = erasures.count_data(found)
        if dry_run:
            self.stdout.write(
                f"{found.key}: {data.conversations} conversations with {data.messages} messages to erase, {data.live} of "
                f"them being written; {data.feedback} ratings to make anonymous; {data.tokens} access tokens, "
                f"{data.links} share links, {data.quota_uses} quota rows, {data.usage} days of usage and "
                f"{data.terms} search terms to remove."
            )
            return
        record(AccessRecord.Kind.ERASE, account_name(), owner_key=found.key, count=data.conversations)
        erasures.stop(found)
        erased = sum(erasures.erase(found))
        left = erasures.count_data(found).conversations
        self.stdout.write(f"{found.key}: {erased} conversations erased.")
        if left:
            raise CommandError(f"{left} conversations have a live reply or are locked. Run the command again.")
