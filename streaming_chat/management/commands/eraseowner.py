"""Take all text of one owner away, and their name from it; the numbers stay."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from streaming_chat.models import AccessRecord
from streaming_chat.privacy import erasures, owners
from streaming_chat.privacy.accesses import record


class Command(BaseCommand):
    """Safe beside running workers, and to be repeated."""

    help = (
        "Erases one owner: stops their replies, then leaves no text and no owner in any of their conversations, deleted "
        "ones too; removes what their quota counts, and the terms by which staff sought them. The user stays: deactivate it "
        "first, so that nothing new is written meanwhile, and delete it afterwards. What stays elsewhere: docs/privacy.md."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take whose, and --dry-run."""
        parser.add_argument("owner", metavar="OWNER", help="A username, or an owner key: u:<pk> or v:<hmac>.")
        parser.add_argument("--dry-run", action="store_true", help="Print what there is, and change nothing.")

    def handle(self, *args: Any, owner: str, dry_run: bool, **options: Any) -> None:
        """Print how much. Raises CommandError for nobody, and where something could not be erased."""
        try:
            found = owners.find(owner)
        except LookupError as error:
            raise CommandError(str(error)) from error
        held = erasures.holdings(found)
        if dry_run:
            self.stdout.write(
                f"{found.key}: {held.conversations} conversations with {held.messages} messages to erase, {held.live} of "
                f"them being written; {held.feedback} ratings to make anonymous; {held.quota_uses} quota rows and "
                f"{held.terms} search terms to remove."
            )
            return
        record(AccessRecord.Kind.ERASE, owners.account(), owner_key=found.key, count=held.conversations)
        erasures.stop(found)
        erased = sum(erasures.erase(found))
        left = erasures.holdings(found).conversations
        self.stdout.write(f"{found.key}: {erased} conversations erased.")
        if left:
            raise CommandError(f"{left} conversations have a reply that is being written, or are held: run it again.")
