"""When providers are created and their SDKs imported: before a reply needs them, and while nothing is locked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIHandler
from django.core.signals import request_started
from django.db import connection
from django.test import SimpleTestCase, TransactionTestCase, override_settings
from django.test.client import ClientHandler

from streaming_chat.providers import preparation
from streaming_chat.providers.demo import DemoProvider
from streaming_chat.shortcuts import send_message
from tests.database import database_url
from tests.factories import make_user
from tests.servers import GunicornServer, ProcessServer, wait_until

UVICORN = (sys.executable, "-m", "uvicorn", "--factory", "streaming_chat.asgi:get_asgi_application", "--port", "0")


class Slow(DemoProvider):
    """Notes what is done to it, and whether a transaction was open. note: also a file that `prepare` makes."""

    done: list[tuple[str, bool]] = []

    def __init__(self, alias: str, note: str = "", **options: Any) -> None:
        super().__init__(alias, words_per_second=0, **options)
        self.note = note
        self.done.append(("created", connection.in_atomic_block))

    def prepare(self) -> None:
        self.done.append(("prepared", connection.in_atomic_block))
        if self.note:
            Path(self.note).touch()


class Missing(DemoProvider):
    def __init__(self, alias: str, **options: Any) -> None:
        raise ImproperlyConfigured("it needs packages that are missing")


class Broken(Slow):
    def prepare(self) -> None:
        raise RuntimeError("no SDK")


def providers(**classes: type) -> dict[str, Any]:
    entries = {alias: {"BACKEND": f"{__name__}.{kind.__name__}"} for alias, kind in classes.items()}
    return {"STREAMING_CHAT_PROVIDERS": entries, "STREAMING_CHAT_MODELS": [f"{alias}:any" for alias in entries]}


class SendTests(TransactionTestCase):
    """Another user's write waits for the send's transaction, at least on SQLite."""

    def setUp(self):
        Slow.done.clear()

    def send(self, **options: Any) -> str:
        return send_message(make_user(), "Hello", wait=True, **options).status

    @override_settings(**providers(slow=Slow))
    def test_a_provider_is_created_before_the_transaction(self):
        assert self.send() == "completed"
        assert Slow.done == [("created", False)]

    @override_settings(**providers(slow=Slow, other=Slow))
    def test_a_send_with_a_model_creates_its_provider_only(self):
        assert self.send(model="other:any") == "completed"
        assert Slow.done == [("created", False)]

    @override_settings(**providers(slow=Slow, missing=Missing))
    def test_one_that_cannot_be_created_stops_no_other(self):
        assert self.send() == "completed"


class BackgroundTests(SimpleTestCase):
    def setUp(self):
        Slow.done.clear()

    def started(self) -> preparation.Background:
        background = preparation.Background()
        background.start()
        background._thread.join()
        return background

    @override_settings(**providers(one=Slow, two=Slow))
    def test_all_providers_are_prepared_once(self):
        self.started().start()

        assert [what for what, _locked in Slow.done] == ["created", "prepared"] * 2

    @override_settings(**providers(broken=Broken, slow=Slow))
    def test_a_failure_is_logged_and_the_next_is_prepared(self):
        with self.assertLogs("streaming_chat", "WARNING") as logged:
            self.started()

        assert "The provider broken cannot be prepared: RuntimeError" in logged.output[0]
        assert Slow.done[-1] == ("prepared", False)

    def test_the_first_request_of_a_server_starts_it_and_a_tests_client_does_not(self):
        def is_connected() -> bool:
            return preparation._on_request in [receiver() for _key, receiver, *_ in request_started.receivers]

        self.addCleanup(preparation.prepare_with_first_request)
        preparation.prepare_with_first_request()
        preparation._on_request(sender=ClientHandler)

        assert is_connected()
        preparation._on_request(sender=ASGIHandler)

        assert not is_connected()


@pytest.mark.any_database
class ServerTests(TransactionTestCase):
    def setUp(self):
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.note = folder / "prepared"
        self.settings_of_site = providers(slow=Slow)
        self.settings_of_site["STREAMING_CHAT_PROVIDERS"]["slow"]["OPTIONS"] = {"note": str(self.note)}

    def test_a_server_prepares_them_when_it_starts(self):
        with ProcessServer(self.settings_of_site, command=UVICORN):
            wait_until(self.note.exists)

    def test_other_servers_do_with_their_first_request(self):
        with GunicornServer(self.settings_of_site) as server:
            wait_until(lambda: server.workers)

            assert not self.note.exists()
            wait_until(server.is_answering)
            wait_until(self.note.exists)

    def test_a_command_does_not(self):
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.served",
            "DATABASE_URL": database_url(),
            "STREAMING_CHAT_TEST_SETTINGS": json.dumps(self.settings_of_site),
        }
        subprocess.run([sys.executable, "-m", "django", "check"], env=environment, check=True, capture_output=True)

        assert not self.note.exists()
