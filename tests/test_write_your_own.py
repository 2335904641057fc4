"""The examples of docs/providers.md, docs/client.md and docs/write-your-own/ do what their pages say."""

import asyncio
import json
import re
import sys
import tempfile
import uuid
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import pytest
from django.conf import settings
from django.contrib.auth.models import Group
from django.db import transaction
from django.test import Client, SimpleTestCase, TransactionTestCase, override_settings

from streaming_chat import checks
from streaming_chat.models import Conversation, QuotaUse
from tests.factories import make_user
from tests.native import Api, ApiTestCase, error_of

from .received import PROMPT, receive
from .servers import wait_until
from .test_docs import ROOT


def code_blocks(page: str) -> list[str]:
    """Return what a page shows in Python."""
    path = {"provider": "providers.md", "client": "client.md"}.get(page, f"write-your-own/{page}.md")
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / path).read_text(), re.DOTALL)


def example(page: str, block: int = 0) -> Any:
    """Return a code block of a page as a module, which settings can name."""
    module = ModuleType(f"write_your_own_{page}_{block}")
    exec(compile(code_blocks(page)[block], f"{page}.md", "exec"), module.__dict__)  # noqa: S102  (the page's own example)
    sys.modules[module.__name__] = module
    return module


PAGES = ("provider", "encoder", "notifier", "quota", "permissions", "prompt")
ENCODER, NOTIFIER, QUOTA, PERMISSIONS, PROMPT_HOOK = map(example, PAGES[1:])
# That page begins with settings.
PROVIDER = example("provider", next(at for at, code in enumerate(code_blocks("provider")) if "class " in code))
TOKENS = example("permissions", 2)


def backend(module: Any, name: str, **options: Any) -> dict[str, Any]:
    return {"BACKEND": f"{module.__name__}.{name}", "OPTIONS": options}


@pytest.mark.slow
class ProviderTests(SimpleTestCase):
    async def receive(self, *lines: str, status: str = "200 OK"):
        """Return what is received from a server that answers so, and what it was asked."""
        asked = asyncio.Future()

        async def answer(reader, writer):
            head = await reader.readuntil(b"\r\n\r\n")
            asked.set_result(await reader.readexactly(int(re.search(rb"Length: (\d+)", head)[1])))
            writer.write(f"HTTP/1.0 {status}\r\n\r\n".encode() + "".join(f"{line}\n" for line in lines).encode())
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            received = await receive(PROVIDER.LineProvider("line", url=f"http://127.0.0.1:{port}/"))
            return received, json.loads(await asked)

    async def test_a_reply(self):
        received, asked = await self.receive('"Hel"', '"lo"', "[DONE]")

        assert received.text == "Hello"
        assert received.error is None
        assert received.stream.finish_reason == "stop"
        assert asked == {"model": PROMPT.model, "text": PROMPT.turns[-1].text, "limit": 100}

    async def test_failures(self):
        for lines, status, code in (
            (['"Hel"'], "200 OK", "provider_truncated"),
            ([], "500 Internal Server Error", "provider_unavailable"),
        ):
            with self.subTest(code):
                received, _asked = await self.receive(*lines, status=status)

                assert received.code == code

    async def test_a_server_that_is_not_there(self):
        received = await receive(PROVIDER.LineProvider("line", url="http://127.0.0.1:1/"))

        assert received.code == "provider_unavailable"

    def test_its_options_are_checked(self):
        for url, found in (("http://127.0.0.1/", []), ("ftp://127.0.0.1/", ["streaming_chat.E004"])):
            providers = {"line": backend(PROVIDER, "LineProvider", url=url, stall_timeout=60)}
            with self.subTest(url), override_settings(STREAMING_CHAT_PROVIDERS=providers):
                assert [message.id for message in checks.check_backends()] == found


class EncoderTests(ApiTestCase):
    def test_the_text_alone(self):
        reply = self.api.reply()
        with override_settings(STREAMING_CHAT_ENCODERS={"plain": f"{ENCODER.__name__}.PlainTextEncoder"}):
            response = self.api.get(f"api/messages/{reply.pk}/events?format=plain")
            body = b"".join(response.streaming_content)

        assert response["Content-Type"] == "text/plain; charset=utf-8"
        assert body.decode() == f"{reply.text}\n"

    def test_it_starts_again(self):
        assert ENCODER.PlainTextEncoder("id").reset() == b"\n[starting again]\n"


class NotifierTests(TransactionTestCase):
    """Two processes, as two notifiers that share nothing but the folder."""

    def setUp(self):
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        self.writing, self.following = self.notifier(), self.notifier()
        self.reply = uuid.uuid4()
        self.changed, self.woken = [], []

    def notifier(self):
        notifier = NOTIFIER.FolderNotifier(folder=self.folder)
        self.addCleanup(notifier.close)
        return notifier

    def rows_changed(self, message_ids):
        self.changed.extend(message_ids)

    def test_a_subscriber_is_notified_after_the_commit(self):
        self.following.subscribe(self.reply, self, "default")
        with transaction.atomic():
            self.writing.notify_on_commit("default", [uuid.uuid4(), self.reply])
            assert self.changed == []

        wait_until(lambda: self.changed == [self.reply])
        assert self.following.is_connected

    def test_a_worker_is_woken(self):
        self.writing.listen("one", self.woken.extend, "default")
        self.following.wake("default", "another", self.reply)
        self.following.wake("default", "one", self.reply)

        wait_until(lambda: self.woken == [self.reply])

    def test_a_process_that_has_ended_is_forgotten(self):
        self.following.subscribe(self.reply, self, "default")
        self.following.close()
        wait_until(lambda: self.writing.send("changed") or not list(Path(self.folder).iterdir()))

    def test_an_error_does_not_end_the_thread(self):
        self.writing.listen("one", self.woken.extend, "default")
        with self.assertLogs(NOTIFIER.__name__, "ERROR"):
            self.following.send("nonsense")
            self.following.wake("default", "one", self.reply)
            wait_until(lambda: self.woken)

    def test_its_options_are_checked(self):
        for folder, found in ((self.folder, []), (f"{self.folder}/missing", ["streaming_chat.E004"])):
            chosen = backend(NOTIFIER, "FolderNotifier", folder=folder)
            with self.subTest(folder), override_settings(STREAMING_CHAT_NOTIFIER=chosen):
                assert [message.id for message in checks.check_backends()] == found


class QuotaTests(ApiTestCase):
    def test_the_tokens_of_a_week(self):
        self.provider.max_output_tokens = 100
        with override_settings(STREAMING_CHAT_QUOTA=backend(QUOTA, "WeeklyQuota", tokens=110)):
            self.api.send()
            refused = self.api.post("api/messages", {"content": "x" * 400})

        # What the scripted provider reports, 7 + 4 tokens.
        assert [use.tokens for use in QuotaUse.objects.all()] == [11]
        assert (refused.status_code, error_of(refused)["code"]) == (429, "quota_exceeded")


class PermissionsTests(ApiTestCase):
    def setUp(self):
        super().setUp()
        chosen = backend(PERMISSIONS, "TeamPermissions", group="team", large_models=["scripted:model"])
        self.enterContext(override_settings(STREAMING_CHAT_PERMISSIONS=chosen))
        self.user.groups.add(Group.objects.create(name="team"))

    def status(self, api, **body):
        return api.post("api/messages", {"content": "Hi", "stream": False, **body}).status_code

    def test_only_the_group_may_chat(self):
        other = Api(make_user("bo"))

        assert other.get("api/conversations").status_code == 403
        assert self.api.get("api/conversations").status_code == 200

    def test_large_models_are_for_staff(self):
        assert self.status(self.api) == 403
        self.user.is_staff = True
        self.user.save()
        assert self.status(self.api) == 200

    def test_a_conversation_can_be_full(self):
        self.user.is_staff = True
        self.user.save()
        self.status(self.api)
        conversation = Conversation.objects.get()
        Conversation.objects.update(message_count=501)
        response = self.api.post(f"api/conversations/{conversation.pk}/messages", {"content": "Hi"})

        assert list(error_of(response)["fields"]) == ["content"]


class PromptTests(ApiTestCase):
    def test_what_the_model_is_sent(self):
        self.user.first_name = "Ada"
        self.user.save()
        with override_settings(
            STREAMING_CHAT_PROMPT=f"{PROMPT_HOOK.__name__}.prompt", STREAMING_CHAT_SYSTEM_PROMPT="You help."
        ):
            self.api.send("And today?")
        [call] = self.provider.calls

        assert call.prompt.system == "You help.\nThe user's name is Ada."
        assert [turn.text for turn in call.prompt.turns] == ["When do you open?", "At nine.", "And today?"]


class TokenTests(ApiTestCase):
    """Requests without a session, and with Django's own check of CSRF."""

    def setUp(self):
        super().setUp()
        self.enterContext(override_settings(STREAMING_CHAT_PERMISSIONS=backend(TOKENS, "TokenPermissions")))
        self.client = Client(enforce_csrf_checks=True)

    def send(self, token, **headers):
        return self.client.post(
            "/chat/api/messages",
            {"content": "Hi", "stream": False},
            content_type="application/json",
            headers={"Authorization": f"Bearer {token}", **headers},
        )

    def test_a_token_stands_for_its_user(self):
        response = self.send(TOKENS.make_token(self.user))

        assert response.status_code == 200
        assert [conversation.owner for conversation in Conversation.objects.all()] == [self.user]

    def test_other_tokens_are_refused(self):
        inactive = make_user("bo", is_active=False)
        with patch("django.core.signing.time.time", return_value=0):
            expired = TOKENS.make_token(self.user)
        for token in ("nonsense", TOKENS.make_token(self.user) + "x", TOKENS.make_token(inactive), expired):
            with self.subTest(token):
                assert (self.send(token).status_code, Conversation.objects.count()) == (401, 0)

    def test_a_session_still_needs_the_csrf_token(self):
        self.client.force_login(self.user)
        response = self.client.post("/chat/api/messages", {"content": "Hi"}, content_type="application/json")

        assert (response.status_code, error_of(response)["code"]) == (403, "csrf_failed")

    def test_another_origin(self):
        """Runs the settings that the page shows."""
        site = {"INSTALLED_APPS": [*settings.INSTALLED_APPS], "MIDDLEWARE": [*settings.MIDDLEWARE]}
        exec(code_blocks("client")[0], site)  # noqa: S102  (the page's own example)
        site = {name: value for name, value in site.items() if name.isupper()}
        with override_settings(**site):
            asked = self.client.options(
                "/chat/api/messages",
                headers={
                    "Origin": "https://www.example.com",
                    "Access-Control-Request-Method": "POST",
                    "Access-Control-Request-Headers": "authorization,content-type",
                },
            )
            sent = self.send(TOKENS.make_token(self.user), Origin="https://www.example.com")
            other = self.send(TOKENS.make_token(self.user), Origin="https://evil.example.com")

        assert asked["Access-Control-Allow-Origin"] == "https://www.example.com"
        assert "authorization" in asked["Access-Control-Allow-Headers"]
        assert (sent.status_code, sent["Access-Control-Allow-Origin"]) == (200, "https://www.example.com")
        assert "Access-Control-Allow-Origin" not in other
