"""Write everything that is stored about one owner as JSON, for a person who asks for their data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from streaming_chat import private_files
from streaming_chat.accounts.owners import Owner
from streaming_chat.db.alias import live_database
from streaming_chat.exports.owner_data import owner_data
from streaming_chat.management.arguments import find_owner
from streaming_chat.models import AccessRecord, Conversation
from streaming_chat.privacy.audit import account_name, record


class Command(BaseCommand):
    """Includes deleted conversations. First, an access record by the operating system's account is saved."""

    help = (
        "Writes one owner's conversations, with all messages, parts and feedback, and their quota counts, usage, access "
        "tokens, shared links and block as one JSON object. It includes conversations that the owner deleted, until they "
        "are removed, but nothing by which a token or a link could be used."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the owner and --output."""
        parser.add_argument("owner", metavar="OWNER", help="A username, or an owner key: u:<pk> or v:<hmac>.")
        parser.add_argument("--output", metavar="FILE", default="-", help="A new file. Default: standard output.")

    def handle(self, *args: Any, owner: str, output: str, **options: Any) -> None:
        """Write the file. Raises CommandError for an unknown owner, and if the file cannot be created."""
        found = find_owner(owner)
        if output == "-":
            _write(found, lambda text: self.stdout.write(text, ending=""))
            return
        try:
            file = private_files.create(Path(output))
        except OSError as error:
            raise CommandError(f"{output} cannot be created: {error.strerror}.") from error
        with file:
            _write(found, lambda text: file.write(text.encode()))


def _write(owner: Owner, write: Callable[[str], object]) -> None:
    count = Conversation.objects.using(live_database()).owned_by(owner.key).count()
    record(AccessRecord.Kind.EXPORT, account_name(), owner_key=owner.key, count=count)
    for piece in owner_data(owner):
        write(piece)
