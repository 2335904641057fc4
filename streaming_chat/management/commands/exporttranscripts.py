"""Write any number of conversations with their texts to a file."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from streaming_chat.db.alias import live_database
from streaming_chat.exports import transcripts
from streaming_chat.exports.datasets import DATASETS, export_dataset
from streaming_chat.exports.files import ExportFile, Progress
from streaming_chat.management.arguments import find_owner, moment
from streaming_chat.models import AccessRecord, Conversation, ConversationQuerySet, Status
from streaming_chat.privacy.audit import account_name, record

_FORMATS = (*transcripts.FORMATS, *DATASETS)


class Command(BaseCommand):
    """Reads a page at a time. First, an access record by the operating system's account is saved."""

    help = (
        "Writes conversations with their texts to a file: a conversation per line (jsonl), a message per row (csv), or a "
        "judged reply per line, for fine-tuning (training) or evaluation. The file contains what users wrote and what "
        "reviewers recorded. An interrupted export continues when the command is run again with the same arguments and the "
        "same --output."
    )
    # The checks import the site's URLs and its admin: 10 MB that an export does not need.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the format, the conditions and --output."""
        parser.add_argument("--format", choices=sorted(_FORMATS), default="jsonl", help="Default: jsonl.")
        parser.add_argument("--since", type=moment, metavar="DATE", help="Active then or later: 2026-11-01, or a time.")
        parser.add_argument("--until", type=moment, metavar="DATE", help="Active before then. Default: now.")
        parser.add_argument("--status", choices=Status.values, help="Status of the last reply.")
        parser.add_argument("--owner", metavar="NAME", help="A username or an owner key (u:<pk>, v:<hmac>).")
        parser.add_argument("--model", help="A model, as alias:model, or alias:* for all models of a provider.")
        parser.add_argument(
            "--output", metavar="FILE", help="A new file; - is standard output. Default: its kind and the date."
        )

    def handle(self, *args: Any, format: str, output: str | None, **options: Any) -> None:
        """Write the file, and print the progress on standard error. Raises CommandError."""
        if options["since"] and options["until"] and options["since"] >= options["until"]:
            raise CommandError(f"--since must be before --until, got {options['since']} and {options['until']}.")
        name = output or _default_name(format)
        asked = {"format": format, **{key: options[key] for key in ("since", "until", "status", "owner", "model")}}
        if name == "-":
            self._print(asked)
            return
        file = _new_file(name)
        try:
            self._write(file, asked)
        except (OSError, ValueError) as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            raise CommandError("interrupted; run the same command again to continue.", returncode=130) from None

    def _print(self, asked: dict[str, Any]) -> None:
        for chunk in _chunks(_record_and_select(_until_now(asked)), asked["format"]):
            self.stdout.write(chunk.data.decode(), ending="")

    def _write(self, file: ExportFile, asked: dict[str, Any]) -> None:
        interrupted = file.load_progress()
        if interrupted is not None and not _is_same(interrupted.options, asked):
            raise CommandError(f"{file.path}.state is of an export with other arguments; remove it to start again.")
        progress = interrupted or Progress(_until_now(asked))
        conversations = _record_and_select(progress.options)
        total = conversations.count()
        after = uuid.UUID(progress.through) if progress.through else None
        chunks = _chunks(conversations, asked["format"], after)
        for reached in file.write(chunks, progress):
            progress = reached
            if self.stderr.isatty():
                self._show("\r", progress, total)
        self._show("", progress, total)
        self.stderr.write("", ending="\n")
        self.stdout.write(f"{file.path}")

    def _show(self, start: str, progress: Progress, total: int) -> None:
        lines = "examples" if progress.options["format"] in DATASETS else "messages"
        text = f"{start}{progress.conversations} of {total} conversations, {progress.messages} {lines}"
        self.stderr.write(text, style_func=str, ending="")
        self.stderr.flush()


def _default_name(format: str) -> str:
    suffix = transcripts.FORMATS[format].suffix if format in transcripts.FORMATS else transcripts.Jsonl.suffix
    return f"{format if format in DATASETS else 'transcripts'}-{timezone.localdate():%Y-%m-%d}.{suffix}"


def _chunks(
    conversations: ConversationQuerySet, format: str, after: uuid.UUID | None = None
) -> Iterator[transcripts.ExportChunk]:
    if format in DATASETS:
        return export_dataset(conversations, DATASETS[format], after)
    return transcripts.export(conversations, transcripts.FORMATS[format](has_reviews=True), after)


def _new_file(name: str) -> ExportFile:
    file = ExportFile(Path(name))
    if file.path.exists():
        raise CommandError(f"{name} exists; give another name, or remove it.")
    if not file.path.parent.is_dir():
        raise CommandError(f"{name} cannot be written: there is no folder {file.path.parent}.")
    return file


def _record_and_select(options: dict[str, Any]) -> ConversationQuerySet:
    """Save the access record, and return the conversations. Raises CommandError for an unknown owner."""
    conversations = Conversation.objects.using(live_database()).filter(last_activity__lt=options["until"])
    owner_key = ""
    if options["since"]:
        conversations = conversations.filter(last_activity__gte=options["since"])
    if options["status"]:
        conversations = conversations.filter(last_status=options["status"])
    if options["owner"]:
        owner_key = find_owner(options["owner"]).key
        conversations = conversations.filter(owner_key=owner_key)
    if model := options["model"]:
        condition = {"model__startswith": model[:-1]} if model.endswith(":*") else {"model": model}
        conversations = conversations.filter(**condition)
    record(
        AccessRecord.Kind.EXPORT,
        account_name(),
        owner_key=owner_key,
        owner_keys=conversations.order_by().values_list("owner_key", flat=True).distinct(),
        count=conversations.count(),
    )
    return conversations


def _until_now(asked: dict[str, Any]) -> dict[str, Any]:
    """Return the options with an end: later activity belongs to the next export, also if this one is resumed."""
    return {**asked, "until": asked["until"] or timezone.now().isoformat()}


def _is_same(options: dict[str, Any], asked: dict[str, Any]) -> bool:
    """Return whether an interrupted export had the same arguments. Without --until it has the time of its start."""
    return asked == (options if asked["until"] else {**options, "until": None})
