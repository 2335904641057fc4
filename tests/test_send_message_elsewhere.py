"""`send_message` with a client_id that another process has used: one reply, and both wait for its end."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from django.test import TransactionTestCase, override_settings

from streaming_chat.models import LiveReply
from streaming_chat.shortcuts import send_message
from streaming_chat.testing import wait_until_saved

from .database import database_url
from .factories import make_user
from .provider_server import TIMEOUT, Gate, ProviderServer, Script
from .servers import held, site, wait_until

DELTAS = ("Hel", "lo ", "wörld")
# Prints what it got, as soon as it has it.
SEND = """
import django, json, sys
django.setup()
from django.contrib.auth import get_user_model
from streaming_chat.shortcuts import send_message
reply = send_message(get_user_model().objects.get(pk=sys.argv[1]), "Hi", client_id="task-7", wait=True)
print(json.dumps([str(reply.pk), reply.status, reply.text]))
"""


class SendMessageElsewhereTests(TransactionTestCase):
    def setUp(self):
        self.user = make_user()
        self.provider = self.enterContext(ProviderServer())
        self.enterContext(override_settings(**site(self.provider)))
        self.addCleanup(wait_until_saved)

    def test_a_second_process_follows_the_reply_to_its_end(self):
        gate = Gate()
        with held(gate), ThreadPoolExecutor(1) as pool:
            self.provider.script(Script(DELTAS, gates={2: gate}))
            reply = send_message(self.user, "Hi", client_id="task-7")
            gate.wait_reached()
            process = self.second_process()
            said = pool.submit(process.communicate, timeout=60)
            # It follows here, or it has returned before the end.
            wait_until(lambda: said.done() or LiveReply.objects.exclude(followed_until=None).exists(), 60)
            gate.open()
            printed, _errors = said.result(TIMEOUT)

        assert json.loads(printed) == [str(reply.pk), "completed", "Hello wörld"]
        assert len(self.provider.calls) == 1

    def second_process(self) -> subprocess.Popen:
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.served",
            "DATABASE_URL": database_url(),
            "STREAMING_CHAT_TEST_SETTINGS": json.dumps(site(self.provider)),
        }
        return subprocess.Popen(
            [sys.executable, "-c", SEND, str(self.user.pk)],
            cwd=Path(__file__).parent.parent,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
