"""The chat without a mouse: every action by keys, and the keyboard is never lost."""

import re

import pytest
from playwright.sync_api import Page, expect

from streaming_chat.models import Feedback
from tests.factories import make_conversation, make_reply
from tests.provider_server import Gate, Script
from tests.servers import held

from .chat import ChatPage
from .conftest import sign_in, watched

BACK = "Shift+Tab"
# Links in prose are as large as its letters.
SMALL = """() => [...document.querySelectorAll("streaming-chat :is(button, a, summary, select, input)")]
    .filter((element) => element.checkVisibility({ visibilityProperty: true }))
    .filter((element) => !element.closest(".sc-prose :is(p, li, td)"))
    .filter((element) => element.type !== "hidden" && !element.classList.contains("sc-unseen"))
    .map((element) => [element.outerHTML.slice(0, 120), element.getBoundingClientRect()])
    .filter(([, { width, height }]) => width < 24 || height < 24)
    .map(([html, { width, height }]) => `${width} x ${height}: ${html}`)"""


@pytest.fixture
def chat(page: Page) -> ChatPage:
    return ChatPage(page).open()


@pytest.fixture
def told(page: Page, user) -> ChatPage:
    """Return a tab with a conversation of two replies to one message."""
    conversation = make_conversation(user)
    first = make_reply(conversation, "One\n\n```python\nx = 1\n```")
    make_reply(conversation, "Two", parent=first.parent, parts=[{"kind": "text", "text": "Two"}])
    chat = ChatPage(page).open(f"c/{conversation.pk}")
    expect(chat.reply()).to_have_text("Two")
    return chat


class TestWriting:
    def test_enter_sends_and_escape_stops(self, chat, provider):
        gate = Gate()
        provider.script(Script(["Half", " whole"], gates={1: gate}))
        with held(gate):
            expect(chat.text).to_be_focused()
            chat.page.keyboard.type("Two")
            chat.page.keyboard.press("Shift+Enter")
            chat.page.keyboard.type("lines")
            chat.page.keyboard.press("Enter")
            expect(chat.reply()).to_have_text("Half")
            chat.expect_focus_kept()
            chat.page.keyboard.press("Escape")
            chat.expect_end("stopped")

        expect(chat.users).to_have_text("Two\nlines", use_inner_text=True)
        expect(chat.text).to_be_focused()

    def test_the_buttons_send_and_stop(self, chat, provider):
        gate = Gate()
        provider.script(Script(["Half", " whole"], gates={1: gate}))
        with held(gate):
            chat.page.keyboard.type("Hi")
            chat.press(chat.send_button)
            expect(chat.reply()).to_have_text("Half")
            chat.expect_focus_kept()
            chat.press(chat.stop)
            chat.expect_end("stopped")

        chat.expect_focus_kept()

    def test_up_edits_the_last_message(self, told, provider):
        keyboard = told.page.keyboard
        keyboard.press("ArrowUp")
        field = told.page.get_by_role("textbox", name="Edit message")
        expect(field).to_be_focused()
        keyboard.press("Escape")
        expect(field).to_have_count(0)
        told.expect_focus_kept()
        told.press(told.button("Edit message"), by=BACK)
        expect(field).to_be_focused()
        told.press(told.button("Cancel"))
        told.expect_focus_kept()
        told.press(told.button("Edit message"))
        keyboard.type(" Or snow?")
        keyboard.press("Enter")
        expect(told.users).to_have_text("Will it rain? Or snow?")
        told.expect_end()

        told.expect_focus_kept()

    def test_up_twice_is_one_form(self, told):
        told.page.keyboard.press("ArrowUp")
        told.text.focus()
        told.page.keyboard.press("ArrowUp")

        expect(told.page.get_by_role("textbox", name="Edit message")).to_be_focused()

    def test_a_refusal_is_tried_again_or_dismissed(self, chat, provider):
        body = {"error": {"code": "too_many_replies", "message": "Too many replies.", "retryable": True}}
        chat.page.route("**/api/messages", lambda route: route.fulfill(status=429, json=body))
        chat.say("Hi")
        expect(chat.error).to_be_visible()
        chat.press(chat.button("Dismiss"), by=BACK)
        expect(chat.error).to_be_hidden()
        chat.expect_focus_kept()
        chat.text.press("Enter")
        expect(chat.error).to_be_visible()
        chat.page.unroute("**/api/messages")
        chat.press(chat.button("Try again"), by=BACK)
        chat.expect_end()

        chat.expect_focus_kept()


class TestReplies:
    def test_the_pager_goes_back_and_forth(self, told):
        told.press(told.button("Previous reply"), by=BACK)
        expect(told.reply()).to_contain_text("One")
        told.expect_focus_kept()
        told.press(told.button("Next reply"))
        expect(told.reply()).to_have_text("Two")

        told.expect_focus_kept()

    def test_one_is_written_again(self, told, provider):
        told.press(told.button("Regenerate"), by=BACK)
        expect(told.reply()).to_have_text("Hello, wörld!")
        told.expect_end()

        told.expect_focus_kept()

    def test_one_is_copied(self, told, context):
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        told.press(told.button("Copy reply"), by=BACK)
        expect(told.button("Copied")).to_be_focused()

        assert told.page.evaluate("navigator.clipboard.readText()") == "Two"

    def test_one_is_copied_as_html_as_well(self, told, context, provider):
        """A table is pasted as a table."""
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        provider.script(Script(["| a | b |\n|---|---|\n| $x_1$ | **2** |"]))
        told.press(told.button("Regenerate"), by=BACK)
        expect(told.reply().locator("td")).to_have_count(2)
        told.expect_end()
        told.press(told.button("Copy reply"), by=BACK)
        expect(told.button("Copied")).to_be_focused()
        html = told.page.evaluate(
            "navigator.clipboard.read().then(([item]) => item.getType('text/html')).then((blob) => blob.text())"
        )

        assert "<td>$x_1$</td><td><strong>2</strong></td>" in html

    def test_one_is_copied_on_a_page_without_tls(self, told, context):
        """Such a page has no navigator.clipboard, only the old command."""
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        told.page.evaluate("() => { navigator.clipboard.write = undefined; }")
        told.press(told.button("Copy reply"), by=BACK)
        expect(told.button("Copied")).to_be_focused()

        assert told.page.evaluate("navigator.clipboard.readText()") == "Two"

    def test_a_clipboard_that_is_forbidden_breaks_nothing(self, told):
        told.page.evaluate("() => { navigator.clipboard.write = undefined; document.execCommand = () => false; }")
        told.press(told.button("Copy reply"), by=BACK)

        expect(told.button("Copy reply")).to_be_focused()

    def test_one_is_judged_with_a_comment(self, told):
        told.press(told.button("Bad reply"), by=BACK)
        comment = told.page.get_by_label("What was good or bad? (optional)")
        expect(comment).to_be_focused()
        told.page.keyboard.press("Escape")
        expect(told.button("Bad reply")).to_be_focused()
        told.press(told.button("Good reply"), by=BACK)
        expect(comment).to_be_focused()
        told.page.keyboard.type("Short")
        with told.page.expect_response("**/feedback"):
            told.press(told.button("Send comment"))
        expect(told.button("Good reply")).to_be_focused()

        told.page.wait_for_load_state("networkidle")
        assert Feedback.objects.values_list("value", "comment").get() == (1, "Short")

    def test_changes_of_a_judgement_are_saved_in_their_order(self, told):
        """Each waits for the answer to the one before it."""
        heard = []
        page = told.page
        page.on("request", lambda request: request.url.endswith("/feedback") and heard.append("asked"))
        page.on("response", lambda response: response.url.endswith("/feedback") and heard.append("answered"))
        with page.expect_response(lambda response: response.request.post_data == '{"value":1,"comment":""}'):
            # In one task of the page: the first has no answer when the second is made.
            page.evaluate(
                """() => {
                    for (const part of ["bad", "good"]) document.querySelector(`[data-part=${part}]`).click();
                }"""
            )

        assert heard == ["asked", "answered"] * 2
        assert Feedback.objects.get().value == 1

    def test_its_facts_open_and_close(self, told):
        summary = told.replies.last.locator(".sc-facts > summary")
        told.press(summary, by=BACK)
        expect(told.replies.last.locator(".sc-facts dl")).to_be_in_viewport(ratio=1)
        told.page.keyboard.press("Escape")

        expect(told.replies.last.locator(".sc-facts dl")).to_be_hidden()
        expect(summary).to_be_focused()

    def test_the_latest_is_jumped_to(self, page, user, site):
        conversation = make_conversation(user)
        make_reply(conversation, "line\n\n" * 60)
        chat = ChatPage(page).open(f"c/{conversation.pk}")
        area = page.get_by_role("region", name="Messages")
        chat.reach(area, BACK)
        page.keyboard.press("PageUp")
        expect(chat.button("Jump to latest")).to_be_visible()
        chat.text.focus()
        chat.press(chat.button("Jump to latest"), by=BACK)

        expect(area).to_be_focused()
        expect(chat.button("Jump to latest")).to_be_hidden()


class TestConversations:
    def test_one_is_searched_opened_renamed_deleted_and_restored(self, told, user):
        keyboard = told.page.keyboard
        make_conversation(user, title="Snow")
        told.reload()
        told.reach(told.page.get_by_label("Search conversations"), BACK)
        keyboard.type("snow")
        link = told.page.locator(".sc-conversation")
        expect(link).to_have_count(1)
        told.press(link)
        heading = told.page.get_by_role("heading", level=1)
        expect(heading).to_have_text("Snow")
        told.expect_focus_kept()
        told.press(told.button("Rename"), by=BACK)
        keyboard.press("Escape")
        expect(told.button("Rename")).to_be_focused()
        keyboard.press("Enter")
        expect(told.page.get_by_role("textbox", name="Title")).to_be_focused()
        keyboard.type("Ice")
        keyboard.press("Enter")
        expect(heading).to_have_text("Ice")
        told.expect_focus_kept()
        told.press(told.button("Delete"))
        expect(told.button("Undo")).to_be_focused()
        keyboard.press("Enter")
        expect(heading).to_have_text("Ice")

        told.expect_focus_kept()

    def test_a_list_that_is_renewed_keeps_the_keyboard(self, told, user, context):
        told.reach(told.page.locator(".sc-conversation").first, BACK)
        other = ChatPage(context.new_page()).open()
        other.say("Hi")
        other.expect_end()
        expect(told.page.locator(".sc-conversation")).to_have_count(2)

        expect(told.page.locator(".sc-conversation[aria-current]")).to_be_focused()

    def test_on_a_phone_the_list_opens_and_closes(self, chromium, site, user):
        with watched(chromium, base_url=site, viewport={"width": 360, "height": 740}) as context:
            sign_in(context, site, user)
            chat = ChatPage(context.new_page()).open()
            menu = chat.page.locator("[data-part=menu]")
            chat.press(menu, by=BACK)
            expect(chat.page.locator(".sc-new")).to_be_focused()
            chat.page.keyboard.press("Escape")

            expect(menu).to_be_focused()


class TestCorner:
    def test_it_opens_and_closes(self, page, user, site):
        page.goto("/embedded/corner/")
        chat = ChatPage(page)
        launcher = page.locator("[data-part=launcher]")
        chat.press(launcher)
        expect(chat.text).to_be_focused()
        page.keyboard.press("Escape")
        expect(launcher).to_be_focused()
        page.keyboard.press("Enter")
        expect(chat.text).to_be_focused()
        chat.press(chat.button("Close"), by=BACK)

        expect(launcher).to_be_focused()
        expect(launcher).to_have_attribute("aria-expanded", "false")


class TestTargets:
    @pytest.mark.parametrize("width", [320, 1100])
    def test_each_is_24_pixels_at_least(self, told, width):
        told.page.set_viewport_size({"width": width, "height": 760})
        told.replies.last.locator(".sc-facts > summary").click()
        told.button("Bad reply").click()
        found = told.page.evaluate(SMALL)
        told.button("Previous reply").click()
        expect(told.reply()).to_contain_text("One")

        assert found + told.page.evaluate(SMALL) == []


class TestComposition:
    """What an input method composes is its own until it is done: the Enter that ends it sends nothing."""

    def compose(self, page: Page, text: str) -> None:
        line = page.context.new_cdp_session(page)
        line.send("Input.imeSetComposition", {"text": text, "selectionStart": len(text), "selectionEnd": len(text)})
        for kind in ("rawKeyDown", "keyUp"):
            line.send(
                "Input.dispatchKeyEvent", {"type": kind, "key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 229}
            )
        # As Chromium reports it while a composition is open.
        line.send(
            "Input.dispatchKeyEvent",
            {"type": "rawKeyDown", "key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13},
        )

    def test_in_the_composer(self, chat, provider):
        chat.page.evaluate(
            "window.keys = []; addEventListener('keydown', (event) => keys.push([event.isComposing, event.keyCode]), true)"
        )
        self.compose(chat.page, "にほん")

        expect(chat.text).to_have_value("にほん")
        expect(chat.users).to_have_count(0)
        assert chat.page.evaluate("keys") == [[True, 229], [True, 13]]
        assert provider.calls == []

    def test_while_a_message_is_edited(self, told, provider):
        told.page.keyboard.press("ArrowUp")
        self.compose(told.page, "にほん")

        expect(told.page.get_by_role("textbox", name="Edit message")).to_have_value(re.compile("にほん"))
        assert provider.calls == []


class TestStatusLine:
    def test_it_says_two_things_of_a_reply(self, chat, provider):
        """Each word announced would be a screen reader that never stops."""
        chat.page.evaluate(
            """() => {
                window.said = [];
                const status = document.querySelector("[role=status]");
                const watch = { childList: true, characterData: true, subtree: true };
                const note = (changes) => changes.forEach(() => said.push(status.textContent));
                new MutationObserver(note).observe(status, watch);
            }"""
        )
        gate = Gate()
        provider.script(Script(["word "] * 50, gates={25: gate}))
        with held(gate):
            chat.say("Hi")
            expect(chat.replies.last).to_have_attribute("aria-busy", "true")
        expect(chat.status).to_have_text("Reply finished")

        said = chat.page.evaluate("said")
        assert list(dict.fromkeys(said)) == ["Writing…", "Reply finished"]
        assert len(said) <= 3
        expect(chat.replies.last).not_to_have_attribute("aria-busy", "true")

    def test_nothing_else_speaks_but_the_alert(self, chat):
        live = "[aria-live], [role=log], [role=status], [role=alert], [role=timer], [role=marquee], output"

        # A dialog that is closed does not speak.
        outside = "(found) => found.filter((element) => !element.closest('dialog:not([open])'))"
        roles = chat.page.locator(live).evaluate_all(f"(found) => ({outside})(found).map((element) => element.role)")
        assert sorted(roles) == ["alert", "status"]
