"""Write conversations with their texts to a file, however many."""

from __future__ import annotations

import uuid
from argparse import ArgumentTypeError
from datetime import datetime, time
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from streaming_chat.db.alias import live_database
from streaming_chat.exports import transcripts
from streaming_chat.exports.files import ExportFile, State
from streaming_chat.models import AccessRecord, Conversation, ConversationQuerySet, Status
from streaming_chat.privacy import owners
from streaming_chat.privacy.accesses import record


class Command(BaseCommand):
    """Reads by key, a page at a time. An access record by the account that it runs under is saved first."""

    help = (
        "Writes conversations with their texts to a file: a conversation a line (jsonl), or a message a row (csv). It holds "
        "what users wrote. A run that was ended before its time goes on where it was when it is started again, with the "
        "same arguments and the same --output."
    )
    # They import the site's URLs and its admin: 10 MB that an export has no use for.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the format, which conversations, and where to."""
        parser.add_argument("--format", choices=sorted(transcripts.FORMATS), default="jsonl", help="Default jsonl.")
        parser.add_argument("--since", type=_when, metavar="DATE", help="Active then or later: 2026-11-01, or a time.")
        parser.add_argument("--until", type=_when, metavar="DATE", help="Active before then. Default: now.")
        parser.add_argument("--status", choices=Status.values, help="Whose last reply stands so.")
        parser.add_argument("--owner", metavar="NAME", help="Of this username or owner key (u:<pk>, v:<hmac>).")
        parser.add_argument("--model", help="Of this model, as alias:model, or alias:* for all of a provider.")
        parser.add_argument(
            "--output", metavar="FILE", help="Where to; - is standard output. Default transcripts-<date>.<format> here."
        )

    def handle(self, *args: Any, format: str, output: str | None, **options: Any) -> None:
        """Print how many on standard error. Raises CommandError."""
        if options["since"] and options["until"] and options["since"] >= options["until"]:
            raise CommandError(f"--since was wanted before --until, got {options['since']} and {options['until']}.")
        name = output or f"transcripts-{timezone.localdate():%Y-%m-%d}.{transcripts.FORMATS[format].suffix}"
        asked = {"format": format, **{key: options[key] for key in ("since", "until", "status", "owner", "model")}}
        if name == "-":
            self._print(asked)
            return
        file = ExportFile(Path(name))
        if file.path.exists():
            raise CommandError(f"{name} exists; name another one, or remove it.")
        if not file.path.parent.is_dir():
            raise CommandError(f"{name} was to be written, but there is no folder {file.path.parent}.")
        try:
            self._write(file, asked)
        except (OSError, ValueError) as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            raise CommandError("broken off; the same command goes on where it was.", returncode=130) from None

    def _print(self, asked: dict[str, Any]) -> None:
        conversations = _record(_until_now(asked))
        for piece in transcripts.export(conversations, transcripts.FORMATS[asked["format"]]()):
            self.stdout.write(piece.data.decode(), ending="")

    def _write(self, file: ExportFile, asked: dict[str, Any]) -> None:
        begun = file.begun()
        if begun is not None and _without_until(begun.asked, asked) != asked:
            raise CommandError(f"{file.path}.state is of an export with other arguments; remove it to begin anew.")
        state = begun or State(_until_now(asked))
        conversations = _record(state.asked)
        total = conversations.count()
        form = transcripts.FORMATS[asked["format"]]()
        pieces = transcripts.export(conversations, form, uuid.UUID(state.upto) if state.upto else None)
        for done in file.write(pieces, state):
            state = done
            self._show(state, total, "\r")
        self._show(state, total, "")
        self.stderr.write("", ending="\n")
        self.stdout.write(f"{file.path}")

    def _show(self, state: State, total: int, start: str) -> None:
        if start and not self.stderr.isatty():
            return
        text = f"{start}{state.conversations} of {total} conversations, {state.messages} messages"
        self.stderr.write(text, style_func=str, ending="")
        self.stderr.flush()


def _record(asked: dict[str, Any]) -> ConversationQuerySet:
    """Return the conversations that are asked for, once it is saved who exports how many. Raises CommandError."""
    conversations = Conversation.objects.using(live_database()).filter(last_activity__lt=asked["until"])
    key = ""
    if asked["since"]:
        conversations = conversations.filter(last_activity__gte=asked["since"])
    if asked["status"]:
        conversations = conversations.filter(last_status=asked["status"])
    if asked["owner"]:
        try:
            key = owners.find(asked["owner"]).key
        except LookupError as error:
            raise CommandError(str(error)) from error
        conversations = conversations.filter(owner_key=key)
    if model := asked["model"]:
        only = {"model__startswith": model[:-1]} if model.endswith(":*") else {"model": model}
        conversations = conversations.filter(**only)
    record(AccessRecord.Kind.EXPORT, owners.account(), owner_key=key, count=conversations.count())
    return conversations


def _until_now(asked: dict[str, Any]) -> dict[str, Any]:
    """Return it with an end: what becomes active meanwhile is in the next one, also where this one is resumed."""
    return {**asked, "until": asked["until"] or timezone.now().isoformat()}


def _without_until(begun: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    return begun if asked["until"] else {**begun, "until": None}


def _when(text: str) -> str:
    """Return a time, with its zone, as text. A date is its first moment in the site's zone."""
    try:
        when = parse_datetime(text) if len(text) > len("2026-11-01") else None
        day = parse_date(text) if when is None else None
    except ValueError:
        when = day = None
    if day is not None:
        when = datetime.combine(day, time())
    if when is None:
        raise ArgumentTypeError(f"a date or time was wanted, as 2026-11-01 or 2026-11-01T12:00, got {text!r}.")
    return (timezone.make_aware(when) if timezone.is_naive(when) else when).isoformat()
