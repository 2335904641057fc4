"""The examples of docs/providers.md, docs/client.md and docs/write-your-own/ do what their pages say."""

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Group
from django.db import transaction
from django.test import Client, SimpleTestCase, TransactionTestCase, override_settings

from streaming_chat import checks
from streaming_chat.models import Conversation, QuotaUse
from tests.factories import make_token, make_user
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


# A site in a process of its own: Django REST framework has its table of tokens only where it is installed.
FRAMEWORK_SITE = """
import json, sys
import django
from django.conf import settings

settings.configure(
    SECRET_KEY="x", ALLOWED_HOSTS=["*"], ROOT_URLCONF="streaming_chat.urls", USE_TZ=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "rest_framework.authtoken", "streaming_chat"],
    STREAMING_CHAT_PERMISSIONS={"BACKEND": "site_permissions.FrameworkPermissions"},
)
django.setup()
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.test import Client
from rest_framework.authtoken.models import Token
from streaming_chat.accounts.access_tokens import create_token
from streaming_chat.models import AccessToken

call_command("migrate", verbosity=0)
ana = get_user_model().objects.create(username="ana")
gone = get_user_model().objects.create(username="gone", is_active=False)
headers = {
    "the framework's": f"Token {Token.objects.create(user=ana).key}",
    "ours": f"Bearer {create_token(AccessToken(owner=ana, name='x'))}",
    "of an inactive user": f"Token {Token.objects.create(user=gone).key}",
    "unknown": "Token x",
    "malformed": "Token",
    "of no kind": "Bearer x",
}
strict = Client(enforce_csrf_checks=True)
create = lambda header: strict.post("/api/conversations", "{}", "application/json", headers={"Authorization": header})
print(json.dumps({name: create(header).status_code for name, header in headers.items()}))
"""


@pytest.mark.slow
class FrameworkTests(SimpleTestCase):
    def test_the_tokens_of_a_framework_and_those_of_the_app(self):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "site_permissions.py").write_text(code_blocks("permissions")[2])
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join([folder, str(ROOT)])}
            environment.pop("DJANGO_SETTINGS_MODULE", None)
            command = [sys.executable, "-c", FRAMEWORK_SITE]
            ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

        assert ran.returncode == 0, ran.stderr
        assert json.loads(ran.stdout) == {
            "the framework's": 201,
            "ours": 201,
            "of an inactive user": 401,
            "unknown": 401,
            "malformed": 401,
            "of no kind": 401,
        }


class OtherOriginTests(ApiTestCase):
    def setUp(self):
        super().setUp()
        self.client = Client(enforce_csrf_checks=True)

    def send(self, token, **headers):
        return self.client.post(
            "/chat/api/messages",
            {"content": "Hi", "stream": False},
            content_type="application/json",
            headers={"Authorization": f"Bearer {token}", **headers},
        )

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
            sent = self.send(make_token(self.user), Origin="https://www.example.com")
            other = self.send(make_token(self.user), Origin="https://evil.example.com")

        assert asked["Access-Control-Allow-Origin"] == "https://www.example.com"
        assert "authorization" in asked["Access-Control-Allow-Headers"]
        assert (sent.status_code, sent["Access-Control-Allow-Origin"]) == (200, "https://www.example.com")
        assert "Access-Control-Allow-Origin" not in other
