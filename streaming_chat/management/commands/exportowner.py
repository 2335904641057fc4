"""Write everything that is stored about one owner as JSON, for a person who asks for their data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from streaming_chat import private_files
from streaming_chat.accounts.owners import Owner
from streaming_chat.db.alias import live_database
from streaming_chat.exports.rows import to_json
from streaming_chat.exports.transcripts import Jsonl, export
from streaming_chat.management.arguments import find_owner
from streaming_chat.models import (
    AccessRecord,
    AccessToken,
    Conversation,
    ConversationQuerySet,
    QuotaUse,
    ShareLink,
)
from streaming_chat.privacy.audit import account_name, record


class Command(BaseCommand):
    """Includes deleted conversations. First, an access record by the operating system's account is saved."""

    help = (
        "Writes one owner's conversations, with all messages, parts and feedback, and their quota counts, access tokens "
        "and shared links as one JSON object. It includes conversations that the owner deleted, until they are removed, "
        "but nothing by which a token or a link could be used."
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
    conversations = Conversation.objects.using(live_database()).owned_by(owner.key)
    record(AccessRecord.Kind.EXPORT, account_name(), owner_key=owner.key, count=conversations.count())
    write(to_json(_about(owner))[:-1] + ', "conversations": [')
    _write_conversations(conversations, write)
    write("]}\n")


def _about(owner: Owner) -> dict[str, Any]:
    uses = QuotaUse.objects.using(live_database()).filter(key=f"owner {owner.key}").order_by("day")
    return {
        "owner": owner.key,
        "username": owner.user.get_username() if owner.user else None,
        "exported_at": timezone.now().isoformat(),
        "quota_uses": [{**use, "day": use["day"].isoformat()} for use in uses.values("day", "replies", "tokens")],
        "access_tokens": _access_tokens(owner),
        "shared_links": _shared_links(owner),
    }


def _access_tokens(owner: Owner) -> list[dict[str, Any]]:
    """Return the tokens, without what recognises one. `token` is its public beginning, by which lists name it."""
    tokens = AccessToken.objects.using(live_database()).filter(owner=owner.user).order_by("created_at", "id")
    fields = ("name", "scope", "created_at", "expires_at", "last_used_at")
    return [{"token": str(token), **{field: getattr(token, field) for field in fields}} for token in tokens]


def _shared_links(owner: Owner) -> list[dict[str, Any]]:
    links = ShareLink.objects.using(live_database()).filter(conversation__owner_key=owner.key).order_by("created_at")
    return [dict(link) for link in links.values("conversation", "message", "created_at")]


def _write_conversations(conversations: ConversationQuerySet, write: Callable[[str], object]) -> None:
    """Write the lines of a JSONL export with commas between them. JSON writes line breaks in a text as \\n."""
    is_between = False
    for chunk in export(conversations, Jsonl()):
        text = chunk.data.decode()
        if text and is_between:
            write(",\n")
        is_between = text.endswith("\n") if text else is_between
        write(text.removesuffix("\n").replace("\n", ",\n"))
