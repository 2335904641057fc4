"""Real clients in Node.js: fetch-event-source, eventsource and eventsource-parser."""

import json
from collections.abc import Iterator

import pytest

from streaming_chat.models import Message
from tests.database import database_url
from tests.encoders.formats import FORMATS, sse_events
from tests.encoders.golden import FOLDER
from tests.provider_server import Script

from .conftest import serve
from .line import Line
from .node import headers_of, run_client

TEXT = "Hello\r\n\n data: [DONE]\n\u2028\x85<b>wörld</b> 🎈"


@pytest.fixture
def beating_site(chromium, loopback, transactional_db) -> Iterator[str]:
    with serve(
        DATABASE_URL=database_url(), PROVIDER_URL=loopback.openai_url, STREAMING_CHAT_HEARTBEAT_SECONDS="0.02"
    ) as root:
        yield root


class TestFetchEventSource:
    def test_one_post_with_heartbeats_every_20_ms(self, beating_site: str, user, provider):
        """It sends the request again at a blank line without data, which `: ping` and two line breaks are."""
        provider.script(Script(["a", "b", "c", "d"], pause=0.3))
        with Line(beating_site) as line:
            config = {"headers": headers_of(user), "body": {"content": "Hi"}}
            got = run_client("fetch_event_source", {**config, "url": f"{line.url}/chat/api/messages"})
            posts = line.asked("POST", "/chat/api/messages")

        assert (got["opened"], posts) == (1, 1)
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
        for name in FORMATS:
            if name in ("text", "ndjson"):
                continue
            for path in sorted((FOLDER / name).iterdir()):
                stream = path.read_bytes()
                got = run_client("parser", stdin=stream)
                expected = [(event.name, event.data) for event in sse_events(stream)]

                assert [(event.get("event", "message"), event["data"]) for event in got["events"]] == expected, path
                assert got["errors"] == [], path
