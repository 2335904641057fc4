"""docs/examples/event_source.html: Chromium's EventSource follows a reply, whatever happens to its connections."""

import asyncio
import contextlib
import json

from playwright.sync_api import Browser, Page, expect

from streaming_chat.models import Message
from tests.provider_server import Gate, Script

from .conftest import sign_in, watched
from .line import Line

PAGE = "/examples/event_source.html"
LOG = """
(() => {
  const Native = EventSource;
  window.seen = [];
  window.EventSource = class extends Native {
    constructor(...args) {
      super(...args);
      for (const name of ["message", "start", "reset", "done", "stopped", "interrupted", "failed"]) {
        this.addEventListener(name, ({ type, data, lastEventId }) => window.seen.push({ type, data, lastEventId }));
      }
    }
  };
})();
"""


class CuttingLine(Line):
    """A proxy that resets the connection after each event of a stream that is followed."""

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(head)
            # The POST is not followed, and is read to its first event only.
            if b"text/event-stream" in head and self.requests[-1][0] == "GET":
                writer.write(await reader.readuntil(b"\n\n"))
                await writer.drain()
                writer.transport.abort()
                return
        await self._forward(reader, writer)


def send(page: Page, text: str = "Hi") -> None:
    page.get_by_label("Message").fill(text)
    page.get_by_role("button", name="Send").click()


class TestEventSource:
    def test_a_reply(self, page: Page, provider):
        script = Script(["Hello", ", wörld", "!\n\n", "🎈 data: [DONE]\\n <b>"])
        provider.script(script)
        page.goto(PAGE)
        send(page)
        expect(page.get_by_role("status").last).to_have_text("done")

        assert page.locator("output").text_content() == script.text
        assert Message.objects.get(role="assistant").text == script.text

    def test_a_page_that_is_loaded_again_follows_from_where_it_is(self, page: Page, provider):
        gates = {2: Gate()}
        provider.script(Script(["Hel", "lo", ", world"], gates=gates))
        page.goto(PAGE)
        send(page)
        expect(page.locator("output")).to_have_text("Hello")
        with page.expect_request(lambda request: "/events?after=" in request.url) as followed:
            page.reload()
        gates[2].open()
        expect(page.locator("output")).to_have_text("Hello, world")
        expect(page.get_by_role("status").last).to_have_text("done")

        assert not followed.value.url.endswith("after=0")

    def test_nothing_is_lost_or_repeated_where_a_proxy_cuts_after_every_event(
        self, chromium: Browser, site: str, user, provider
    ):
        print("Chromium", chromium.version)  # noqa: T201  (for -s)
        gates = {number: Gate() for number in range(1, 6)}
        script = Script(["a\n", "bb", "🎈", "d ", "e", "f"], gates=gates)
        provider.script(script)
        with CuttingLine(site) as line, watched(chromium, base_url=line.url) as context:
            sign_in(context, line.url, user)
            page = context.new_page()
            page.add_init_script(LOG)
            page.goto(PAGE)
            send(page)
            for number, gate in gates.items():
                page.wait_for_function(
                    "text => document.querySelector('output').textContent === text", arg="".join(script.deltas[:number])
                )
                gate.open()
            expect(page.get_by_role("status").last).to_have_text("done", timeout=30_000)
            seen = page.evaluate("seen")
            reply = str(Message.objects.get(role="assistant").pk)
            # A reset can overtake the event before it, which then comes again.
            connections = line.asked("GET", "/events?after=0")

            assert page.locator("output").text_content() == script.text
            assert [event["type"] for event in seen] == ["start", *["message"] * 6, "done"]
            assert len({event["lastEventId"] for event in seen}) == 8
            assert [json.loads(event["data"])["text"] for event in seen[1:-1]] == list(script.deltas)
            assert connections >= 8
            # What EventSource asks once more, if it is not closed: nothing follows.
            again = context.request.get(
                f"/chat/api/messages/{reply}/events?after=0", headers={"Last-Event-ID": seen[-1]["lastEventId"]}
            )
            assert (again.status, again.body()) == (204, b"")
            refused = context.request.post(f"/chat/api/messages/{reply}/events")
            assert refused.status == 405
