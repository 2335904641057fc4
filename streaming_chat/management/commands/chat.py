"""Chat with a model in the terminal, as a user of the site."""

from __future__ import annotations

import re
import sys
import uuid
from contextlib import suppress
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from streaming_chat.chats.branches import branch
from streaming_chat.db.alias import live_database
from streaming_chat.engine.run import Run
from streaming_chat.engine.runner import runner
from streaming_chat.engine.stream import ThreadWaiter
from streaming_chat.exceptions import APIError, error_text
from streaming_chat.management.arguments import find_owner
from streaming_chat.models import Conversation, Status
from streaming_chat.protocol.events import TEXT
from streaming_chat.shortcuts import send_message

# Of a conversation that is continued.
_SHOWN_MESSAGES = 4
# Standard error is red otherwise.
_PLAIN = str
# The reply is printed as it comes; its ending is noticed within this many seconds.
_LOOK_SECONDS = 0.2
# What a terminal could obey: control characters but line breaks and tabs, and marks that change the direction of text.
_CONTROLS = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class Command(BaseCommand):
    """Messages and replies are stored, limited and counted like those of the page."""

    help = (
        "A chat in the terminal, stored like any other. Ctrl-C stops a reply; at the prompt, Ctrl-C and Ctrl-D leave. "
        "Without a terminal, each line of standard input is a message."
    )

    # Their warnings would stand before the conversation.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Add --user, --model and --conversation."""
        parser.add_argument("--user", required=True, help="The username of the conversation's owner.")
        parser.add_argument("--model", default="", help="A model of STREAMING_CHAT_MODELS. Default: the first.")
        parser.add_argument(
            "--conversation", type=uuid.UUID, metavar="ID", help="A conversation of the user's to continue."
        )

    def handle(self, *args: Any, user: str, model: str, conversation: uuid.UUID | None, **options: Any) -> None:
        """Send what is typed, and print the replies, until the input ends. Raises CommandError."""
        owner = find_owner(user)
        if owner.user is None:
            raise CommandError("only a user who exists can chat.")
        current = self._find(owner.key, conversation) if conversation else None
        if current is not None:
            self._show(current)
        # Anywhere but in a reply, Ctrl-C leaves.
        with suppress(KeyboardInterrupt):
            while (text := self._read()) is not None:
                if text.strip():
                    current = self._exchange(owner.user, text, current, model) or current
        if current is not None:
            self.stderr.write(f"Continue with --conversation {current.pk}", _PLAIN)

    def _find(self, owner_key: str, conversation_id: uuid.UUID) -> Conversation:
        found = Conversation.objects.using(live_database()).for_owner(owner_key).filter(pk=conversation_id).first()
        if found is None:
            raise CommandError(f"the user has no conversation {conversation_id}.")
        return found

    def _show(self, conversation: Conversation) -> None:
        for message in branch(conversation, conversation.head_id, most=_SHOWN_MESSAGES):
            self.stdout.write(f"{'' if message.is_reply else '> '}{_printable(message.text)}\n")

    def _read(self) -> str | None:
        """Return the next message; None to leave."""
        try:
            return input("> " if sys.stdin.isatty() else "")
        except EOFError:
            return None

    def _exchange(self, user: Any, text: str, current: Conversation | None, model: str) -> Conversation | None:
        """Send a message and print its reply; return the conversation, None if the message was refused."""
        try:
            reply = send_message(user, text, conversation=current, model=model)
        except (APIError, ValueError) as error:
            self.stderr.write(str(error))
            return None
        if run := runner.find(reply.pk):
            self._print(run)
        reply.refresh_from_db()
        self.stdout.write("\n")
        if reply.error_code:
            self.stderr.write(error_text(reply.error_code))
        elif (reply.status, reply.end_reason) != (Status.COMPLETED, "stop"):
            self.stderr.write(f"({reply.get_status_display()}: {reply.end_reason})", _PLAIN)
        return reply.conversation

    def _print(self, run: Run) -> None:
        """Print a reply as it is written, until its ending is saved. Ctrl-C stops it."""
        waiter, printed = ThreadWaiter(), 0
        run.stream.attach(waiter)
        while not run.ended.is_set():
            try:
                waiter.wait(_LOOK_SECONDS)
                waiter.clear()
                printed = self._print_from(run, printed)
            except KeyboardInterrupt:
                run.request_stop("user")
        self._print_from(run, printed)

    def _print_from(self, run: Run, printed: int) -> int:
        """Print what has come since; return how many events that makes."""
        new = run.events[printed:]
        self.stdout.write(_printable("".join(event.payload for event in new if event.kind == TEXT)), ending="")
        self.stdout.flush()
        return printed + len(new)


def _printable(text: str) -> str:
    return _CONTROLS.sub("", text)
