"""Real clients in Node.js: @ag-ui/client, fetch-event-source, eventsource and eventsource-parser."""

import asyncio
import json
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from streaming_chat.models import Conversation, Message, ReplyEvent
from tests.database import database_url
from tests.encoders.formats import FORMATS, sse_events
from tests.encoders.golden import FOLDER
from tests.hostile import HOSTILE
from tests.provider_server import Gate, Script
from tests.servers import Exchange, held, wait_until

from .conftest import serve
from .line import Line
from .node import headers_of, run_client

NO_EVENT_STREAMS = {"text", "ndjson"}
TEXT = "Hello\r\n\n data: [DONE]\n\u2028\x85<b>wörld</b> 🎈"


class TestAGUI:
    def run(self, site: str, user, *texts: str):
        return run_client("ag_ui", {"url": f"{site}/chat/ai/ag_ui", "headers": headers_of(user), "texts": texts})

    def test_a_thread_of_two_messages(self, site: str, user, provider):
        provider.script(Script([TEXT[:7], TEXT[7:]], reasoning=["Hm", "\n"]))
        provider.script(Script(["Yes", "."]))
        ran = self.run(site, user, "Hi", "Really?")
        roles = [message["role"] for message in ran["messages"]]
        replies = list(Message.objects.filter(role="assistant").order_by("created_at"))

        assert "error" not in json.dumps([run.get("error") for run in ran["runs"]])
        assert roles == ["user", "reasoning", "assistant", "user", "assistant"]
        assert [message["content"] for message in ran["messages"]] == ["Hi", "Hm\n", TEXT, "Really?", "Yes."]
        assert [message["id"] for message in ran["messages"] if message["role"] == "assistant"] == [
            str(reply.pk) for reply in replies
        ]
        assert [reply.text for reply in replies] == [TEXT, "Yes."]
        assert Conversation.objects.get().message_count == 4
        assert ran["runs"][0]["events"][-1]["outcome"] == {"type": "success"}
        assert ran["runs"][0]["events"][-1]["usage"][0]["inputTokens"] == 7

    def test_hostile_texts(self, site: str, user, provider):
        text = "\n".join(HOSTILE.values())
        provider.script(Script(list(text)))
        ran = self.run(site, user, "Hi")

        assert ran["messages"][-1]["content"] == text

    def test_a_tool_call(self, site: str, user, provider):
        provider.script(Script([], tool_calls=[("weather", '{"city": "Köln"}')]))
        ran = self.run(site, user, "Hi")
        [call] = ran["messages"][-1]["toolCalls"]

        assert call["function"] == {"name": "weather", "arguments": '{"city": "Köln"}'}
        assert ran["runs"][0]["events"][-1]["outcome"] == {"type": "success", "pendingToolCallIds": [call["id"]]}
        assert ran["runs"][0]["finished"] == {"outcome": "success", "pendingToolCallIds": [call["id"]]}

    def test_reasoning_and_text_in_turn_are_steps_of_one_run(self, site: str, user, provider):
        provider.script(Script(["Hello"], reasoning=["Hm"]))
        [run] = self.run(site, user, "Hi")["runs"]
        steps = [(event["type"], event["stepName"]) for event in run["events"] if event["type"].startswith("STEP")]

        assert steps == [
            *(("STEP_STARTED", "reasoning"), ("STEP_FINISHED", "reasoning")),
            *(("STEP_STARTED", "answer"), ("STEP_FINISHED", "answer")),
        ]

    def test_a_run_that_its_user_stops_is_cancelled(self, site: str, user, provider):
        gate = Gate()
        provider.script(Script(["Hel", "lo"], gates={1: gate}))
        headers = headers_of(user)
        config = {"url": f"{site}/chat/ai/ag_ui", "headers": headers, "texts": ["Hi"], "threadId": "t"}
        with held(gate), ThreadPoolExecutor() as pool:
            running = pool.submit(run_client, "ag_ui", config)
            wait_until(ReplyEvent.objects.filter(kind="text").exists)
            stopped = Exchange(urlsplit(site).port, "POST", "/chat/ai/chat/t/stop", headers, b"")
            assert stopped.status == 200
            ran = running.result()

        assert "error" not in ran["runs"][0]
        assert ran["runs"][0]["finished"] == {"outcome": "cancelled"}
        assert ran["messages"][-1]["content"] == "Hel"
        assert Message.objects.get(role="assistant").status == "stopped"

    def test_an_error_rejects_the_run(self, site: str, user, provider):
        provider.script(Script(["Hel", "lo"], fault="cut", after=1))
        [run] = self.run(site, user, "Hi")["runs"]

        assert run["events"][-1]["type"] == "RUN_ERROR"
        assert run["events"][-1]["code"] == Message.objects.get(role="assistant").error_code

    def test_a_refused_request_rejects_the_run(self, site: str, user):
        [run] = self.run(site, user, " ")["runs"]

        assert run["events"] == []
        assert run["error"].startswith("HTTP 422")
        assert Message.objects.count() == 0


@pytest.fixture
def beating_site(chromium, loopback, transactional_db) -> Iterator[str]:
    with serve(
        DATABASE_URL=database_url(), PROVIDER_URL=loopback.openai_url, STREAMING_CHAT_HEARTBEAT_SECONDS="0.02"
    ) as root:
        yield root


class HeartbeatLine(Line):
    """Counts the heartbeats."""

    heartbeats = 0

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._forward(reader, writer, self._count)

    def _count(self, data: bytes) -> bytes:
        self.heartbeats += data.count(b"\r\n:\n\r\n")
        return data


class TestFetchEventSource:
    def test_one_post_with_heartbeats_every_20_ms(self, beating_site: str, user, provider):
        """It sends the request again at a blank line without data, which `: ping` and two line breaks are."""
        provider.script(Script(["a", "b", "c", "d"], pause=0.3))
        with HeartbeatLine(beating_site) as line:
            config = {"headers": headers_of(user), "body": {"content": "Hi"}}
            got = run_client("fetch_event_source", {**config, "url": f"{line.url}/chat/api/messages"})
            posts = line.asked("POST", "/chat/api/messages")

        assert (got["opened"], posts) == (1, 1)
        assert line.heartbeats >= 10
        assert [event["event"] for event in got["events"]] == ["start", "", "", "", "", "done", ""]
        assert all(event["data"] for event in got["events"])
        assert Message.objects.filter(role="assistant").count() == 1


class TestEventSource:
    def test_the_package_follows_a_reply(self, site: str, user, provider):
        provider.script(Script([TEXT]))
        headers = headers_of(user)
        sent = run_client(
            "fetch_event_source", {"url": f"{site}/chat/api/messages", "headers": headers, "body": {"content": "Hi"}}
        )
        reply = json.loads(sent["events"][0]["data"])["message"]
        got = run_client("event_source", {"url": f"{site}/chat/api/messages/{reply}/events", "headers": headers})
        texts = [json.loads(event["data"])["text"] for event in got["events"]]

        assert "".join(texts) == TEXT
        assert got["events"][-1]["type"] == "done"
        assert got["events"][-1]["lastEventId"] == f"{reply}/end"


class TestParser:
    def test_it_reads_the_events_of_the_golden_files(self):
        """As many as a parser by the specification, and nothing that it does not know."""
        paths = [
            path for name in sorted(FORMATS.keys() - NO_EVENT_STREAMS) for path in sorted((FOLDER / name).iterdir())
        ]
        encoded = json.dumps([b64encode(path.read_bytes()).decode() for path in paths])
        read = run_client("parser", stdin=encoded.encode())

        for path, got in zip(paths, read, strict=True):
            expected = [(event.name, event.data) for event in sse_events(path.read_bytes())]

            assert [(event.get("event", "message"), event["data"]) for event in got["events"]] == expected, path
            assert got["errors"] == [], path
