"""`manage.py chat`, in a process with a terminal of its own."""

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from django.test import TransactionTestCase

from streaming_chat.models import Conversation, Message
from tests.database import database_url
from tests.factories import make_conversation, make_user
from tests.provider_server import Gate, ProviderServer, Script
from tests.servers import site, wait_until

# Starting an interpreter on a busy machine.
_SECONDS = 120


class Terminal:
    """The command on a terminal. shown: what it has printed so far."""

    def __init__(self, test, *arguments):
        self.shown = ""
        main, side = pty.openpty()
        self._main = main
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.served",
            "DATABASE_URL": database_url(),
            "STREAMING_CHAT_TEST_SETTINGS": json.dumps(site(test.provider)),
        }
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "chat", *arguments],
            cwd=Path(__file__).parent.parent.parent,
            env=environment,
            stdin=side,
            stdout=side,
            stderr=side,
            start_new_session=True,
        )
        os.close(side)
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()
        test.addCleanup(os.close, main)
        test.addCleanup(self.process.wait)
        test.addCleanup(self.process.kill)

    def type(self, text):
        os.write(self._main, text.encode())

    def press_ctrl_c(self):
        # The kernel would send it for the key if this were the session's terminal.
        self.process.send_signal(signal.SIGINT)

    def until(self, text):
        wait_until(lambda: text in self.shown, _SECONDS)

    def _read(self):
        try:
            while data := os.read(self._main, 4096):
                self.shown += data.decode("utf-8", "replace")
        except OSError:
            # The other side is closed.
            return


@pytest.mark.any_database
class ChatTests(TransactionTestCase):
    def setUp(self):
        self.user = make_user()
        self.provider = self.enterContext(ProviderServer())

    def test_replies_stream_and_are_stored(self):
        gate = Gate()
        self.provider.script(Script(["It ", "rains"], gates={1: gate}))
        terminal = Terminal(self, "--user", "ana")
        terminal.until("> ")
        terminal.type("Will it rain?\n")
        gate.wait_reached(_SECONDS)
        terminal.until("It ")
        gate.open()
        terminal.until("It rains")
        terminal.type("And now?\n")
        terminal.until("wörld")
        wait_until(lambda: Message.objects.filter(status="completed", role="assistant").count() == 2, _SECONDS)
        terminal.type("\x04")

        assert terminal.process.wait(_SECONDS) == 0
        conversation = Conversation.objects.get()
        texts = [message.text for message in conversation.messages.all()]

        assert texts == ["Will it rain?", "It rains", "And now?", "Hello, wörld!"]
        assert conversation.owner == self.user
        assert str(conversation.pk) in terminal.shown

    def test_ctrl_c_stops_a_reply_and_then_leaves(self):
        self.provider.script(Script(["It "] * 1000, gates={2: Gate()}))
        terminal = Terminal(self, "--user", "ana")
        terminal.until("> ")
        terminal.type("Will it rain?\n")
        terminal.until("It It ")
        terminal.press_ctrl_c()
        terminal.until("stopped")
        reply = Message.objects.get(role="assistant")
        terminal.press_ctrl_c()

        assert terminal.process.wait(_SECONDS) == 0
        assert (reply.status, reply.end_reason, reply.text) == ("stopped", "user", "It It ")

    def test_a_conversation_is_continued(self):
        conversation = make_conversation(self.user)
        terminal = Terminal(
            self, "--user", "ana", "--conversation", str(conversation.pk), "--model", "anthropic:claude-x"
        )
        terminal.until("> ")
        terminal.type("Hi\n")
        terminal.until("wörld")
        terminal.type("\x04")
        terminal.process.wait(_SECONDS)

        assert Message.objects.get(role="assistant").conversation == conversation
        assert self.provider.calls[0].body["model"] == "claude-x"

    def test_what_a_terminal_would_obey_is_not_printed(self):
        self.provider.script(Script(["\x1b]0;owned\x07", "\x1b[2J", "done."]))
        terminal = Terminal(self, "--user", "ana")
        terminal.type("Hi\n")
        terminal.until("done.")

        assert "\x1b" not in terminal.shown
        assert "\x07" not in terminal.shown

    def test_others_conversations_are_not_found(self):
        foreign = make_conversation(make_user("bo"))
        terminal = Terminal(self, "--user", "ana", "--conversation", str(foreign.pk))

        assert terminal.process.wait(_SECONDS) == 1
        terminal.until("has no conversation")
