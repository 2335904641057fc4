"""`Chat` of the AI SDK, as its versions are published, against the app in front of a loopback provider."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from django.conf import settings
from django.test import override_settings

from streaming_chat.chats.branches import branch
from streaming_chat.models import Conversation, Message
from tests.provider_server import Gate, Script
from tests.servers import ServerTestCase, held, outcome, wait_until
from tests.tools import shop
from tests.tools.cases import SETTINGS

from .bundles import node
from .node import CLIENTS

DRIVER = CLIENTS / "ai_sdk.mjs"
# The oldest Node.js that the frontend needs runs ai 5 and 6; ai 7 needs the newer one that Playwright brings along.
RUNTIMES = {"ai5": shutil.which("node"), "ai6": shutil.which("node"), "ai7": node()}
CHAT = "chat/1"
CUT = "The connection to the model was lost before the reply was complete."


class Client:
    """A process with chats of one version of the AI SDK, each in a tab. options: of its transport."""

    def __init__(self, package: str, **options: Any) -> None:
        runtime = RUNTIMES[package]

        assert runtime, "Node.js 20 or newer must be on PATH."

        command = [runtime, str(DRIVER), package, json.dumps(options)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.versions = self._read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self._process.kill()
        self._process.communicate()

    def do(self, command: str, *, tab: str = "one", **values: Any) -> dict[str, Any]:
        """Carry out a command, and return what the tab shows then."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"do": command, "tab": tab, **values}) + "\n")
        self._process.stdin.flush()
        shown = self._read()

        assert "failure" not in shown, shown["failure"]

        return shown

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()

        assert line, f"{DRIVER.name} has ended; run `npm --prefix tests/clients ci` first."

        found: dict[str, Any] = json.loads(line)
        return found


class AISDKTestCase(ServerTestCase):
    """Each test runs with every version, in a chat of its own."""

    def open_client(self, package: str, **options: Any) -> Client:
        csrf = "a" * 32
        headers = {
            "X-CSRFToken": csrf,
            "Cookie": f"{settings.CSRF_COOKIE_NAME}={csrf}; {settings.SESSION_COOKIE_NAME}={self.browser.session}",
        }
        api = f"http://127.0.0.1:{self.server.port}/chat/ai/chat"
        client = Client(package, **{"api": api, "headers": headers, **options})
        print(*client.versions.values())  # noqa: T201  (the versions that were tested)
        return client

    def each(self, check: Any, **options: Any) -> None:
        for package in RUNTIMES:
            with self.subTest(package), self.open_client(package, **options) as client:
                client.do("open", id=CHAT)
                check(client)
            Conversation.objects.all().delete()
            self.provider.clear()


class ChatTests(AISDKTestCase):
    def test_it_sends_regenerates_and_edits(self):
        def check(client):
            self.provider.script(*map(Script, (["Hel", "lo"], ["Again"], ["Third"], ["Edited"])))
            client.do("send", text="One")
            first = client.do("wait", status="ready", text="Hello")["messages"][-1]
            client.do("regenerate")
            client.do("wait", status="ready", text="Again")
            client.do("send", text="Two")
            shown = client.do("wait", status="ready", text="Third")
            client.do("send", text="Zwei", message={"messageId": shown["messages"][2]["id"]})
            edited = client.do("wait", status="ready", text="Edited")
            reply = Message.objects.get(text="Edited")
            versions = Message.objects.get(pk=first["id"]).parent.children

            assert [message["text"] for message in edited["messages"]] == ["One", "Again", "Zwei", "Edited"]
            assert [message.text for message in branch(reply.conversation, reply.pk)] == [
                *("One", "Again", "Zwei", "Edited")
            ]
            assert edited["messages"][-1]["id"] == str(reply.pk)
            assert first["metadata"]["conversation"] == str(reply.conversation_id)
            assert first["metadata"]["status"] == "completed"
            assert first["metadata"]["usage"]["output_tokens"] is not None
            assert first["isDone"]
            assert list(versions.order_by("created_at").values_list("text", flat=True)) == ["Hello", "Again"]
            assert Conversation.objects.get().chat_id == CHAT
            assert [call.body["messages"][-1]["content"] for call in self.provider.calls] == [
                "One",
                "One",
                "Two",
                "Zwei",
            ]

        self.each(check)

    def test_reasoning(self):
        def check(client):
            self.provider.script(Script(["Four"], reasoning=["Two and ", "two"]))
            client.do("send", text="2+2")
            [_question, reply] = client.do("wait", status="ready", text="Four")["messages"]

            assert (reply["reasoning"], reply["text"], reply["isDone"]) == ("Two and two", "Four", True)

        self.each(check)

    def test_closing_the_connection_ends_the_reply_where_that_is_asked_for(self):
        def check(client):
            gate = Gate()
            self.provider.script(Script(["a", "b"], gates={1: gate}))
            with held(gate):
                client.do("send", text="One")
                client.do("wait", text="a")
                shown = client.do("stop")
                reply = self.ended(shown["messages"][-1]["id"])

            assert shown["status"] == "ready"
            assert shown["messages"][-1]["text"] == "a" == reply.text
            assert outcome(reply) == ("stopped", "disconnect", "")

        self.each(check, body={"disconnect": "stop"})

    def test_the_api_ends_the_reply_and_the_client_is_ready(self):
        def check(client):
            gate = Gate()
            self.provider.script(Script(["a", "b"], gates={1: gate}))
            with held(gate):
                client.do("send", text="One")
                client.do("wait", text="a")
                answer = self.browser.post("ai/chat/chat%2F1/stop")
                assert answer.status == 200
                stopped = answer.json()
                shown = client.do("wait", status="ready", text="a")

            assert (stopped["status"], stopped["end_reason"], stopped["text"]) == ("stopped", "user", "a")
            assert shown["messages"][-1]["metadata"]["end_reason"] == "user"
            assert shown["messages"][-1]["isDone"]

        self.each(check)


class ErrorTests(AISDKTestCase):
    def test_before_the_stream_the_client_shows_the_sentence_and_can_try_again(self):
        def check(client):
            self.provider.script(Script(["Hello"]))
            client.do("send", text="x" * 40_000)
            refused = client.do("wait", status="error")
            client.do("open", id=CHAT, messages=[])
            client.do("send", text="One")
            client.do("wait", status="ready", text="Hello")

            assert refused["error"].startswith("The request is not valid. The message is too long")
            assert Message.objects.filter(role="user").count() == 1

        self.each(check)

    def test_a_message_whose_request_was_refused_is_sent_by_regenerate(self):
        def check(client):
            gate = Gate()
            self.provider.script(Script(["a"], gates={1: gate}), Script(["Two"]))
            with held(gate):
                self.browser.post("ai/chat", {"id": CHAT, "message": {"role": "user", "parts": [_text("Elsewhere")]}})
                gate.wait_reached()
                client.do("send", text="Here")
                refused = client.do("wait", status="error")
            self.reply_to("Elsewhere")
            client.do("regenerate")
            client.do("wait", status="ready", text="Two")

            assert refused["error"] == "A reply is still being written in this conversation."
            assert Message.objects.filter(role="user").count() == 2

        self.each(check)

    def test_without_a_csrf_token(self):
        def check(client):
            client.do("send", text="One")
            refused = client.do("wait", status="error")

            assert refused["error"].startswith("The security token is missing or has expired.")

        cookie = f"{settings.SESSION_COOKIE_NAME}={self.browser.session}"
        self.each(check, headers={"Cookie": cookie})

    def test_in_mid_stream_what_was_received_stays(self):
        def check(client):
            self.provider.script(Script(["a", "b"], fault="cut", after=1))
            client.do("send", text="One")
            shown = client.do("wait", status="error")
            [_question, reply] = shown["messages"]

            assert (shown["error"], reply["text"], reply["isDone"]) == (CUT, "a", True)
            assert reply["metadata"]["error"]["code"] == "provider_truncated"
            assert outcome(self.ended(reply["id"]))[0] == "interrupted"

        self.each(check)


class ResumeTests(AISDKTestCase):
    def test_a_second_tab_shows_the_same_reply(self):
        def check(client):
            gate = Gate()
            self.provider.script(Script(["Hel", "lo"], reasoning=["Hm"], gates={1: gate}))
            with held(gate):
                client.do("send", text="One")
                begun = client.do("wait", text="Hel")["messages"]
                client.do("open", tab="two", id=CHAT, messages=[{**begun[0], "parts": [_text("One")]}])
                client.do("follow", tab="two")
                client.do("wait", tab="two", text="Hel")
                gate.open()
                shown = [
                    client.do("wait", tab=tab, status="ready", text="Hello")["messages"][-1] for tab in ("one", "two")
                ]
            saved = wait_until(lambda: Message.objects.filter(pk=shown[0]["id"], text="Hello").first())

            assert shown[0] == shown[1]
            assert shown[0]["reasoning"] == "Hm"
            assert saved.status == "completed"
            assert len(self.provider.calls) == 1
            # Nothing is live any more.
            assert client.do("resume", tab="two")["status"] == "ready"
            assert self.browser.get("ai/chat/chat%2F1/stream").status == 204

        self.each(check)

    def test_a_tab_that_left_comes_back(self):
        def check(client):
            gate = Gate()
            self.provider.script(Script(["Hel", "lo"], gates={1: gate}))
            with held(gate):
                client.do("send", text="One")
                left = client.do("wait", text="Hel")["messages"][-1]
                client.do("stop")
                client.do("follow")
                client.do("wait", status="streaming", text="Hel")
                gate.open()
                shown = client.do("wait", status="ready", text="Hello")["messages"]

            assert [message["text"] for message in shown] == ["One", "Hello"]
            assert shown[-1]["id"] == left["id"]

        self.each(check)


class LoadTests(AISDKTestCase):
    def test_a_page_that_is_loaded_again_shows_the_same_chat(self):
        """With its reasoning, its tool call, and a reply that was cut off, in parts that the AI SDK accepts."""

        def check(client):
            self.provider.script(
                Script(["Four"], reasoning=["Two and two"], tool_calls=[("weather", '{"city": "Köln"}')]),
                Script(["a", "b"], fault="cut", after=1),
                Script(status=400, body={"error": {"message": "No."}}),
            )
            for text, status in (("One", "ready"), ("Two", "error"), ("Three", "error")):
                client.do("send", text=text)
                shown = client.do("wait", status=status)["messages"]
                self.ended(shown[-1]["id"])
            loaded = client.do("load", tab="two", id=CHAT)["messages"]

            assert [_without_id(message) for message in loaded[::2]] == [_without_id(message) for message in shown[::2]]
            assert loaded[1::2] == shown[1::2]
            assert [part["type"] for part in loaded[1]["others"]] == ["dynamic-tool"]
            assert [message["metadata"]["status"] for message in loaded[1::2]] == [
                *("completed", "interrupted", "failed")
            ]

        self.each(check)

    def test_it_goes_on_where_it_was(self):
        def check(client):
            gate = Gate()
            self.provider.script(
                Script(["One"]), Script(["Tw", "o"], gates={1: gate}), Script(["Again"]), Script(["Next"])
            )
            client.do("send", text="First")
            client.do("wait", status="ready", text="One")
            with held(gate):
                client.do("send", text="Second")
                client.do("wait", text="Tw")
                begun = client.do("load", tab="two", id=CHAT)["messages"]
                client.do("follow", tab="two")
                client.do("wait", tab="two", text="Tw")
                gate.open()
                client.do("wait", tab="two", status="ready", text="Two")
            self.reply_to("Second")
            client.do("load", tab="three", id=CHAT)
            client.do("regenerate", tab="three")
            client.do("wait", tab="three", status="ready", text="Again")
            client.do("send", tab="three", text="Third")
            shown = client.do("wait", tab="three", status="ready", text="Next")["messages"]
            reply = Message.objects.get(text="Next")

            assert [message["text"] for message in begun] == ["First", "One", "Second"]
            assert [message.text for message in branch(reply.conversation, reply.pk)] == [
                *("First", "One", "Second", "Again", "Third", "Next")
            ]
            assert [message["text"] for message in shown] == ["First", "One", "Second", "Again", "Third", "Next"]

        self.each(check)


@override_settings(**SETTINGS)
class ApprovalTests(AISDKTestCase):
    """The client answers by itself as soon as it can: `sendAutomaticallyWhen` of the SDK."""

    PAY = ("pay", '{"amount": 200}')

    def setUp(self) -> None:
        super().setUp()
        folder = self.enterContext(tempfile.TemporaryDirectory())
        os.environ["SHOP_LEDGER"] = str(Path(folder) / "ledger")

    def each(self, check: Any, *, automatic: str = "approvals", packages: Sequence[str] = ("ai6", "ai7")) -> None:
        for package in packages:
            with self.subTest(package), self.open_client(package, sdk=int(package.removeprefix("ai"))) as client:
                client.do("open", id=CHAT, automatic=automatic)
                check(client)
            Conversation.objects.all().delete()
            self.provider.clear()
            Path(os.environ["SHOP_LEDGER"]).unlink(missing_ok=True)

    def ask(self, client: Client, *calls: tuple[str, str], answer: str = "Paid.") -> dict[str, Any]:
        """Send, and return what the tab shows as soon as the reply waits."""
        self.provider.script(Script(["I pay."], tool_calls=calls), Script([answer]))
        client.do("send", text="Pay")
        return client.do("wait", status="ready", text="I pay.")["messages"][-1]

    def reloaded(self, client: Client) -> dict[str, Any]:
        """Return the last message of a page that is loaded again, which the SDK has found to be valid."""
        return client.do("load", tab="loaded", id=CHAT)["messages"][-1]

    def test_approve_and_deny(self):
        def check(client):
            for approved, state, text in ((True, "output-available", "Paid."), (False, "output-denied", "Then not.")):
                shown = self.ask(client, self.PAY, answer=text)
                [call] = _calls(shown)
                assert call["state"] == "approval-requested"
                assert len(shop.ledger()) == (not approved)

                client.do("approve", id=call["approval"]["id"], approved=approved)
                shown = client.do("wait", status="ready", text=f"I pay.\n\n{text}")["messages"][-1]
                self.ended(shown["id"])
                [call] = _calls(shown)

                assert (call["state"], call["approval"]["approved"]) == (state, approved)
                assert shown["metadata"]["status"] == "completed"
                assert _calls(self.reloaded(client)) == _calls(shown)

            # One request for each message, and one for each answer: the chat does not go on by itself.
            assert len(self.provider.calls) == 4
            assert len(shop.ledger()) == 1

        self.each(check)

    def test_approve_after_a_reload(self):
        """Another tab has the stored messages, and the reply that waits from its stream."""

        def check(client):
            self.ask(client, self.PAY)
            client.do("load", tab="two", id=CHAT, automatic="approvals")
            client.do("resume", tab="two")
            [call] = _calls(client.do("wait", tab="two", status="ready", text="I pay.")["messages"][-1])
            client.do("approve", tab="two", id=call["approval"]["id"], approved=True)
            shown = client.do("wait", tab="two", status="ready", text="I pay.\n\nPaid.")

            assert [message["role"] for message in shown["messages"]] == ["user", "assistant"]
            assert len(shop.ledger()) == 1
            self.ended(shown["messages"][-1]["id"])

        self.each(check)

    def test_a_tab_that_leaves_after_its_answer_comes_back(self):
        """It gets the reply from the beginning, and shows nothing twice."""

        def check(client):
            gate = Gate()
            self.provider.script(Script(["I pay."], tool_calls=[self.PAY]), Script(["Pa", "id."], gates={1: gate}))
            with held(gate):
                client.do("send", text="Pay")
                [call] = _calls(client.do("wait", status="ready", text="I pay.")["messages"][-1])
                client.do("approve", id=call["approval"]["id"], approved=True)
                client.do("wait", text="I pay.\n\nPa")
                client.do("stop")
                client.do("follow")
                client.do("wait", status="streaming", text="I pay.\n\nPa")
                gate.open()
                shown = client.do("wait", status="ready", text="I pay.\n\nPaid.")["messages"]
            self.ended(shown[-1]["id"])

            assert [message["role"] for message in shown] == ["user", "assistant"]
            assert [call["state"] for call in _calls(shown[-1])] == ["output-available"]
            assert len(shop.ledger()) == 1

        self.each(check)

    def test_two_calls_of_which_one_needs_no_approval(self):
        def check(client):
            shown = self.ask(client, ("weather", '{"city": "Köln"}'), self.PAY)
            weather, pay = _calls(shown)
            assert (weather["state"], pay["state"]) == ("output-available", "approval-requested")
            client.do("approve", id=pay["approval"]["id"], approved=True)
            shown = client.do("wait", status="ready", text="I pay.\n\nPaid.")["messages"][-1]
            self.ended(shown["id"])

            assert [call["state"] for call in _calls(shown)] == ["output-available", "output-available"]

        self.each(check)

    def test_stopped_while_it_waits(self):
        """The client can go on: its chat has no call without a result."""

        def check(client):
            self.ask(client, self.PAY)
            assert self.browser.post("ai/chat/chat%2F1/stop").status == 200
            shown = self.reloaded(client)
            assert [call["state"] for call in _calls(shown)] == ["output-error"]
            client.do("send", tab="loaded", text="Next")
            shown = client.do("wait", tab="loaded", status="ready", text="Paid.")["messages"][-1]

            assert self.ended(shown["id"]).status == "completed"
            assert shop.ledger() == []

        self.each(check)

    def test_a_tool_of_the_client(self):
        def check(client):
            shown = self.ask(client, ("locate", "{}"), answer="You are in Köln.")
            [call] = _calls(shown)
            assert call["state"] == "input-available"
            client.do("output", tool="locate", call=call["toolCallId"], output={"city": "Köln"})
            shown = client.do("wait", status="ready", text="I pay.\n\nYou are in Köln.")["messages"][-1]
            self.ended(shown["id"])

            # The model was asked twice: a chat that sends again by itself has nothing to send.
            assert len(self.provider.calls) == 2
            assert [part["type"] for part in self.reloaded(client)["others"]].count("dynamic-tool") == 1

        self.each(check, automatic="outputs", packages=("ai5", "ai6", "ai7"))


def _calls(message: dict[str, Any]) -> list[dict[str, Any]]:
    return [part for part in message["others"] if part["type"] == "dynamic-tool"]


def _without_id(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message of the user's, to which a client gives an id of its own until it is loaded again."""
    return {**message, "id": ""}


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}
