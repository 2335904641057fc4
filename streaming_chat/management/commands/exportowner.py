"""Write all that is stored of one owner as JSON: for a person who asks what there is about them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from streaming_chat import private_files
from streaming_chat.db.alias import live_database
from streaming_chat.exports import transcripts
from streaming_chat.models import AccessRecord, Conversation, QuotaUse
from streaming_chat.privacy import owners
from streaming_chat.privacy.accesses import record


class Command(BaseCommand):
    """Deleted conversations, too. An access record by the account that it runs under is saved first."""

    help = (
        "Writes one owner's conversations, with all messages, parts and feedback, and what their quota counts, as one JSON "
        "object. Conversations they have deleted are in it until they are removed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take whose, and where to."""
        parser.add_argument("owner", metavar="OWNER", help="A username, or an owner key: u:<pk> or v:<hmac>.")
        parser.add_argument("--output", metavar="FILE", default="-", help="Where to. Default: standard output.")

    def handle(self, *args: Any, owner: str, output: str, **options: Any) -> None:
        """Write it. Raises CommandError for nobody, and where the file cannot be made."""
        try:
            found = owners.find(owner)
        except LookupError as error:
            raise CommandError(str(error)) from error
        if output == "-":
            self._write(found, lambda text: self.stdout.write(text, ending=""))
            return
        try:
            created = private_files.create(Path(output))
        except OSError as error:
            raise CommandError(f"{output} cannot be made: {error.strerror}.") from error
        with created as file:
            self._write(found, lambda text: file.write(text.encode()))

    def _write(self, owner: owners.Owner, write: Any) -> None:
        conversations = Conversation.objects.using(live_database()).owned_by(owner.key)
        record(AccessRecord.Kind.EXPORT, owners.account(), owner_key=owner.key, count=conversations.count())
        uses = QuotaUse.objects.using(live_database()).filter(key=f"owner {owner.key}").order_by("day")
        about = {
            "owner": owner.key,
            "username": owner.user.get_username() if owner.user else None,
            "exported_at": timezone.now().isoformat(),
            "quota_uses": [{**use, "day": use["day"].isoformat()} for use in uses.values("day", "replies", "tokens")],
        }
        write(json.dumps(about, ensure_ascii=False)[:-1] + ', "conversations": [')
        is_between = False
        for piece in transcripts.export(conversations, transcripts.Jsonl()):
            # A line each, with a comma between two. Within one JSON writes a line break as \n.
            text = piece.data.decode()
            if text and is_between:
                write(",\n")
            is_between = text.endswith("\n") if text else is_between
            write(text.removesuffix("\n").replace("\n", ",\n"))
        write("]}\n")
