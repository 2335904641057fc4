"""A chat in pages that are not ours: with styles of their own, several at once, in other places, under other settings."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from streaming_chat.models import Conversation, Message
from tests.database import database_url
from tests.factories import make_conversation, make_reply
from tests.provider_server import Gate, Script
from tests.servers import held

from .axe import violations
from .bundles import ROOT
from .chat import ChatPage
from .conftest import serve, sign_in, watched

LISTEN = """() => {
    window.told = [];
    for (const name of ["started", "ended", "error"]) {
        const tell = ({ target, detail }) => told.push([name, target.getAttribute("name"), detail]);
        addEventListener(`streaming-chat:${name}`, tell);
    }
}"""
OVERLAPPING = """() => {
    const shown = [...document.querySelectorAll("streaming-chat :is(button, a, input, textarea, select)")]
        .filter((element) => element.checkVisibility({ visibilityProperty: true }) && !element.closest(".sc-scroll"))
        .map((element) => [element, element.getBoundingClientRect()]);
    const meet = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1;
    return shown.flatMap(([one, a], index) => shown.slice(index + 1)
        .filter(([, b]) => meet(a, b)).map(([two]) => `${one.outerHTML} ${two.outerHTML}`));
}"""


def part(page: Page, name: str) -> Locator:
    """Return one of the elements of a page."""
    return page.locator(f"streaming-chat[name={name}]")


def say(element: Locator, text: str) -> None:
    element.locator(".sc-composer .sc-text").fill(text)
    element.locator(".sc-composer .sc-text").press("Enter")


def expect_reply(element: Locator, text: str, status: str = "completed") -> None:
    expect(element.locator(".sc-reply").last).to_have_attribute("data-status", status)
    expect(element.locator(".sc-reply").last.locator("[data-part=text]")).to_have_text(text)


@pytest.fixture
def several(page: Page, user, site) -> Page:
    """Return a page with two boxes and a corner."""
    page.goto("/embedded/several/")
    page.evaluate(LISTEN)
    expect(part(page, "second").locator("[data-part=model]")).to_be_visible()
    return page


class TestLoudSite:
    def test_its_rules_for_bare_elements_leave_the_chat_usable(self, page, user, site, provider):
        page.goto("/embedded/loud/")
        chat = ChatPage(page)
        chat.say("Hi")
        chat.expect_end()

        title, send = page.locator(".sc-title"), chat.send_button
        assert title.evaluate("(title) => parseFloat(getComputedStyle(title).fontSize)") <= 20
        assert send.bounding_box()["width"] < 60
        assert page.locator(".sc-messages").evaluate("(list) => getComputedStyle(list).paddingLeft") == "0px"
        assert chat.reply().evaluate("(text) => getComputedStyle(text).textTransform") == "none"
        assert page.evaluate(OVERLAPPING) == []
        frame = page.locator(".sc-frame").bounding_box()
        for control in (chat.text, send, title):
            box = control.bounding_box()
            assert box["x"] >= frame["x"]
            assert box["x"] + box["width"] <= frame["x"] + frame["width"]
            assert box["y"] + box["height"] <= frame["y"] + frame["height"]


class TestSeveral:
    def test_ids_are_unique_and_files_named_once(self, several):
        for name in ("first", "second"):
            say(part(several, name), "Hi")
            expect_reply(part(several, name), "Hello, wörld!")
        ids = several.locator("[id]").evaluate_all("(found) => found.map(({ id }) => id)")

        assert len(ids) == len(set(ids))
        assert several.locator("script[src*='streaming_chat/chat']").count() == 1
        assert several.locator("link[href*='streaming_chat/chat']").count() == 1
        assert violations(several) == []

    def test_each_has_its_own_draft_and_conversation(self, several, provider):
        first, second = part(several, "first"), part(several, "second")
        say(first, "To the first")
        expect_reply(first, "Hello, wörld!")
        second.locator(".sc-composer .sc-text").fill("A draft")
        several.reload()

        expect(first.locator(".sc-bubble")).to_have_text("To the first")
        expect(first.locator(".sc-composer .sc-text")).to_have_value("")
        expect(second.locator(".sc-bubble")).to_have_count(0)
        expect(second.locator(".sc-composer .sc-text")).to_have_value("A draft")
        assert Conversation.objects.count() == 1

    def test_escape_stops_the_one_with_the_keyboard(self, several, provider):
        gates = Gate(), Gate()
        provider.script(*(Script(["Half", " whole"], gates={1: gate}) for gate in gates))
        first, second = part(several, "first"), part(several, "second")
        with held(*gates):
            for element in (first, second):
                say(element, "Hi")
                expect(element.locator(".sc-reply [data-part=text]")).to_have_text("Half")
            several.keyboard.press("Escape")
            expect_reply(second, "Half", "stopped")
            expect(first.locator(".sc-reply")).to_have_attribute("data-status", "streaming")
        expect_reply(first, "Half whole")

    def test_the_site_is_told_which_one_did_what(self, several, provider):
        provider.script(Script(["Done"]), Script(status=401))
        second = part(several, "second")
        say(second, "Hi")
        expect_reply(second, "Done")
        say(second, "x" * 32_001)
        expect(second.locator("[data-part=error]")).to_be_visible()
        told = several.evaluate("told")
        message = Message.objects.get(role="assistant")
        user_message = Message.objects.get(role="user")
        ids = {"conversation": str(message.conversation_id), "message": str(message.pk)}

        assert [(name, element) for name, element, _detail in told] == [
            ("started", "second"),
            ("ended", "second"),
            ("error", "second"),
        ]
        started, ended, error = (detail for _name, _element, detail in told)
        assert started == {**ids, "userMessage": str(user_message.pk), "model": "loopback:small"}
        assert ended == {**ids, "status": "completed", "endReason": "stop", "error": None}
        assert error["status"] == 422
        assert "32000" in error["message"]


class TestComingAndGoing:
    def test_one_that_is_put_back_goes_on(self, page, user, site, provider):
        gate = Gate()
        provider.script(Script(["Half", " whole"], gates={1: gate}))
        page.goto("/embedded/box/")
        box = page.locator("streaming-chat")
        with held(gate):
            say(box, "Hi")
            expect(box.locator(".sc-reply [data-part=text]")).to_have_text("Half")
            page.evaluate("() => { window.kept = document.querySelector('streaming-chat'); kept.remove(); }")
            page.evaluate("() => document.querySelector('main').prepend(kept)")
            expect(box.locator(".sc-reply [data-part=text]")).to_have_text("Half")
        expect_reply(box, "Half whole")
        say(box, "Again")
        expect(box.locator(".sc-reply")).to_have_count(2)

        expect_reply(box, "Hello, wörld!")
        assert Message.objects.count() == 4

    def test_one_that_is_put_in_later_works(self, page, user, site, provider):
        page.goto("/embedded/later/")
        page.evaluate(
            "() => document.querySelector('#place').append(document.querySelector('#kept').content.cloneNode(true))"
        )
        say(part(page, "later"), "Hi")

        expect_reply(part(page, "later"), "Hello, wörld!")


class TestModules:
    def test_an_attribute_cannot_have_another_script_run(self, page, user, site, provider):
        """What is not beside the element's own script is not loaded: a text without it is shown as it was written."""
        provider.script(Script(["**Hello**"]))
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto("/embedded/box/")
        element = page.locator("streaming-chat")
        element.evaluate("""(chat) => {
            const { parentNode } = chat;
            chat.remove();
            chat.dataset.markdown = "/static/elsewhere/markdown.js";
            parentNode.append(chat);
        }""")
        say(element, "Hi")
        expect_reply(element, "**Hello**")

        assert not [url for url in asked if "elsewhere" in url]


class TestOtherPlaces:
    """A site below a prefix, the chat below another, files under names with hashes, and no token in any cookie."""

    @pytest.fixture
    def elsewhere(self, tmp_path, chromium, loopback, user) -> Iterator[BrowserContext]:
        variables = {"HASHED": str(tmp_path), "PREFIX": "/site", "MOUNT": "help/chat/", "CSRF_USE_SESSIONS": "1"}
        command = [sys.executable, "manage.py", "collectstatic", "--no-input", "--verbosity", "0"]
        named = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.browser.settings", **variables}
        subprocess.run(command, cwd=ROOT, env=named, check=True)
        with (
            serve(DATABASE_URL=database_url(), PROVIDER_URL=loopback.openai_url, **variables) as root,
            watched(chromium, base_url=root) as context,
        ):
            sign_in(context, root, user)
            yield context

    def test_everything_is_found(self, elsewhere, provider):
        provider.script(Script(["```python\nx = 1\n```\n"]))
        page = elsewhere.new_page()
        asked, missing = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("response", lambda response: response.status >= 400 and missing.append(response.url))
        page.goto("/site/help/chat/")
        chat = ChatPage(page)
        chat.say("Hi")
        chat.expect_end()
        expect(chat.reply().locator(".hljs-number")).to_be_visible()
        expect(page).to_have_url(re.compile(f"/site/help/chat/c/{Message.objects.first().conversation_id}$"))
        page.reload()
        expect(chat.users).to_have_text("Hi")
        page.go_back()
        expect(chat.users).to_have_count(0)

        assert missing == []
        assert all(re.search(r"^http://[^/]+/site/", url) for url in asked)
        scripts = [url for url in asked if url.endswith(".js")]
        assert {re.sub(r".*/(\w+)\.[0-9a-f]{12}\.js$", r"\1", url) for url in scripts} == {
            "chat",
            "markdown",
            "highlighter",
        }
        assert "csrftoken" not in json.dumps(elsewhere.cookies())


class TestSignedOut:
    def test_the_way_to_sign_in_is_shown(self, page, context):
        context.clear_cookies()
        page.goto("/embedded/box/")

        link = page.locator("streaming-chat").get_by_role("link", name="Sign in")
        expect(link).to_have_attribute("href", "/accounts/login/?next=/embedded/box/")


class TestCorner:
    def test_escape_stops_a_reply_also_in_one_that_is_open_since_the_last_page(self, page, user, site, provider):
        gate = Gate()
        provider.script(Script(["Half", " whole"], gates={1: gate}))
        page.goto("/embedded/corner/")
        page.locator("[data-part=launcher]").click()
        with held(gate):
            say(page.locator("streaming-chat"), "Hi")
            expect(page.locator(".sc-reply [data-part=text]")).to_have_text("Half")
            page.goto("/embedded/corner/")
            expect(page.locator(".sc-reply [data-part=text]")).to_have_text("Half")
            page.keyboard.press("Escape")
            expect_reply(page.locator("streaming-chat"), "Half", "stopped")

        page.evaluate("document.activeElement.blur()")
        page.keyboard.press("Escape")
        expect(page.locator("[data-part=frame]")).to_be_visible()

    def test_it_stays_open_on_the_next_page(self, page, user, site, provider):
        make_reply(make_conversation(user))
        page.goto("/embedded/corner/")
        page.locator("[data-part=launcher]").click()
        say(page.locator("streaming-chat"), "Hi")
        expect_reply(page.locator("streaming-chat"), "Hello, wörld!")
        page.goto("/embedded/corner/")

        expect(page.locator(".sc-bubble")).to_have_text("Hi")
