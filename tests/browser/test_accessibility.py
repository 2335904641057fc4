"""What axe-core finds in every state of the chat, light and dark: nothing."""

import re
from importlib import import_module

import pytest
from django.conf import settings
from django.http import HttpRequest
from playwright.sync_api import Page, expect

from streaming_chat.accounts.owners import make_visitor
from streaming_chat.models import Conversation, Feedback
from tests.factories import make_conversation, make_message, make_reply
from tests.provider_server import Gate, Script
from tests.servers import held

from .axe import violations
from .chat import ChatPage
from .conftest import sign_in, watched

PHONE = {"width": 360, "height": 740}
LONG = (
    """# Rain

A paragraph with **strong**, *emphasis*, `code`, ~~gone~~ and [a link](https://e.example).

## A table

| City | Rain |
|---|---:|
| Lisbon | 12 mm |
| [Porto](https://e.example) | 30 mm |

1. One
   - inner
2. Two

> A quote

```python
def rain(city: str) -> float:
    \"\"\"Return millimetres.\"\"\"
    return 12.0  # today
```

![A map](https://e.example/map.png)

---

### A deeper heading

"""
    + "The end, at length. " * 40
)


def expect_accessible(page: Page) -> None:
    """Let axe look at the page as it is, in light and in dark."""
    found = {}
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        found[scheme] = violations(page)

    assert found == {"dark": [], "light": []}


@pytest.fixture
def chat(page: Page) -> ChatPage:
    return ChatPage(page).open()


@pytest.fixture
def conversation(user) -> Conversation:
    """Return one of ana's, with every kind of Markdown in it."""
    conversation = make_conversation(user)
    make_reply(
        conversation,
        parts=[
            {"kind": "reasoning", "text": "Let me **think**."},
            {"kind": "step", "number": 1},
            {"kind": "text", "text": LONG},
            {"kind": "tool_call", "id": "c1", "name": "weather", "arguments": '{"city": "Lisbon"}', "complete": True},
            {"kind": "tool_result", "id": "c1", "status": "error", "output": "There is no such city.", "ms": 5},
        ],
        reasoning_ms=1200,
    )
    return conversation


@pytest.fixture
def told(page: Page, conversation: Conversation) -> ChatPage:
    """Return a tab with a conversation that has ended."""
    chat = ChatPage(page).open(f"c/{conversation.pk}")
    expect(chat.reply().locator(".hljs-keyword").first).to_be_visible()
    return chat


class TestPage:
    def test_empty(self, chat):
        expect_accessible(chat.page)

    def test_a_reply_with_everything(self, told):
        expect_accessible(told.page)

    def test_reasoning_and_tool_calls_open(self, told):
        for summary in told.replies.last.locator(".sc-reasoning > summary, .sc-calls summary").all():
            summary.click()

        expect(told.page.get_by_text("Let me think.")).to_be_visible()
        expect_accessible(told.page)

    def test_facts_open(self, told):
        told.replies.last.locator(".sc-facts > summary").click()

        expect(told.replies.last.locator(".sc-facts dl")).to_contain_text("demo:demo")
        expect_accessible(told.page)

    def test_a_comment(self, told):
        told.button("Bad reply").click()

        expect(told.page.get_by_label("What was good or bad? (optional)")).to_be_focused()
        expect_accessible(told.page)

    def test_a_reply_that_is_judged(self, conversation, page):
        Feedback.objects.create(message=conversation.head, value=1, owner_key=conversation.owner_key)
        chat = ChatPage(page).open(f"c/{conversation.pk}")

        expect(chat.button("Good reply")).to_have_attribute("aria-pressed", "true")
        expect_accessible(page)

    def test_a_message_being_edited(self, told):
        told.users.last.hover()
        told.button("Edit message").click()

        expect_accessible(told.page)

    def test_a_pager(self, told, conversation):
        make_reply(conversation, "Another", parent=conversation.head.parent)
        told.reload()

        expect(told.page.get_by_text("2 of 2")).to_be_visible()
        expect_accessible(told.page)

    def test_the_dialog_that_renames(self, told):
        told.button("Rename").click()

        expect_accessible(told.page)

    def test_a_deletion_that_can_be_undone(self, told):
        told.button("Delete").click()

        expect(told.button("Undo")).to_be_visible()
        expect_accessible(told.page)

    def test_a_search(self, told, user):
        make_conversation(user, title="Snow")
        search = told.page.get_by_label("Search conversations")
        search.evaluate("(input) => { input.hidden = false; }")
        search.fill("Snow")
        expect(told.page.locator(".sc-conversation")).to_have_count(1)
        expect_accessible(told.page)
        search.fill("Nothing like it")
        expect(told.page.get_by_text("Nothing found.")).to_be_visible()

        expect_accessible(told.page)

    def test_a_claim(self, page, user, context):
        request = HttpRequest()
        request.session = import_module(settings.SESSION_ENGINE).SessionStore(context.cookies()[0]["value"])
        key = make_visitor(request)
        request.session.save()
        Conversation.objects.create(owner=None, owner_key=key, title="From before")
        chat = ChatPage(page).open()

        expect(chat.button("Keep")).to_be_visible()
        expect_accessible(page)

    def test_many_messages_and_conversations(self, page, user, site):
        conversation = make_conversation(user)
        for number in range(20):
            make_message(conversation, f"Message {number}")
            make_reply(conversation, f"Reply {number}", parent=conversation.head)
        for number in range(60):
            make_conversation(user, title=f"Number {number}")
        chat = ChatPage(page).open(f"c/{conversation.pk}")
        expect(chat.button("Show older")).to_be_visible()
        page.locator(".sc-scroll").evaluate("(area) => { area.scrollTop = 0; }")

        expect(chat.button("Jump to latest")).to_be_visible()
        expect_accessible(page)


class TestReply:
    def test_waiting_then_writing(self, chat, provider):
        first, second = Gate(), Gate()
        provider.script(Script(["Half", " whole"], gates={0: first, 1: second}))
        with held(first, second):
            chat.say("Hi")
            first.wait_reached()
            expect_accessible(chat.page)
            first.open()
            expect(chat.reply()).to_have_text("Half")
            expect_accessible(chat.page)

    def test_queued(self, chat, provider):
        gate = Gate()
        provider.script(Script(["Half", " whole"], gates={1: gate}))
        with held(gate):
            chat.say("Hi")
            expect(chat.reply()).to_have_text("Half")
            chat.say("And then?")
            expect(chat.button("Edit queued message")).to_be_visible()
            expect_accessible(chat.page)
            chat.stop.click()
            chat.expect_end("stopped")
        expect(chat.button("Send now")).to_be_visible()

        expect_accessible(chat.page)

    def test_stopped(self, chat, provider):
        gate = Gate()
        provider.script(Script(["Half", " whole"], gates={1: gate}))
        with held(gate):
            chat.say("Hi")
            expect(chat.reply()).to_have_text("Half")
            chat.stop.click()
            chat.expect_end("stopped")

        expect_accessible(chat.page)

    def test_interrupted(self, chat, provider):
        provider.script(Script(["Half", " whole"], fault="cut", after=1))
        chat.say("Hi")
        chat.expect_end("interrupted")

        expect_accessible(chat.page)

    def test_failed(self, chat, provider):
        provider.script(Script(status=401))
        chat.say("Hi")
        chat.expect_end("failed")

        expect_accessible(chat.page)

    def test_refused(self, chat):
        chat.say("x" * 32_001)

        expect(chat.error).to_be_visible()
        expect_accessible(chat.page)


class TestElsewhere:
    def test_a_phone_with_the_list_open(self, chromium, site, user, conversation):
        with watched(chromium, base_url=site, viewport=PHONE, has_touch=True) as context:
            sign_in(context, site, user)
            page = context.new_page()
            ChatPage(page).open(f"c/{conversation.pk}")
            expect_accessible(page)
            page.locator("[data-part=menu]").click()
            expect(page.locator(".sc-new")).to_be_visible()

            expect_accessible(page)

    def test_right_to_left(self, chromium, site, user, conversation):
        with watched(chromium, base_url=site, locale="ar") as context:
            sign_in(context, site, user)
            page = context.new_page()
            ChatPage(page).open(f"c/{conversation.pk}")
            expect(page.locator("html")).to_have_attribute("dir", "rtl")
            expect(page.locator(".hljs-keyword").first).to_be_visible()

            expect_accessible(page)

    def test_a_box_and_a_corner(self, page, user, site):
        page.goto("/embedded/box/")
        expect(page.get_by_role("heading", name="New chat")).to_be_visible()
        expect_accessible(page)
        page.goto("/embedded/corner/")
        launcher = page.locator("[data-part=launcher]")
        expect(launcher).to_be_visible()
        expect_accessible(page)
        launcher.click()

        expect(page.locator(".sc-text").first).to_be_focused()
        expect_accessible(page)

    def test_several_on_one_page(self, page, user, site):
        page.goto("/embedded/several/")
        page.locator("[data-part=launcher]").click()

        expect_accessible(page)

    def test_the_plain_page(self, page, conversation, site):
        gone = "/chat/c/01a2292c-febf-77a7-b14e-88a49dec8ca7"
        for path in ("/chat/?view=plain", f"/chat/c/{conversation.pk}?view=plain", gone):
            page.goto(path)
            expect_accessible(page)

    @pytest.mark.parametrize("path", ["/", "/accounts/login/", "/embedded/box/"])
    def test_whoever_is_not_signed_in(self, page, context, path):
        context.clear_cookies()
        page.goto(path)

        expect(page).to_have_url(re.compile(path))
        expect_accessible(page)
