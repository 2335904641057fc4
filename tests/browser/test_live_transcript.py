"""The live view of a transcript: as the owner sees the reply, its end in view, and Stop always within reach."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from streaming_chat.models import Feedback, Message
from tests.factories import make_conversation, make_reply, make_staff
from tests.provider_server import Gate, Script
from tests.servers import held, outcome, wait_until

from .axe import violations
from .chat import RING, ChatPage
from .conftest import sign_in, watched

PERMISSIONS = ("view_conversation", "view_transcript", "stop_reply")
REVIEWER = (*PERMISSIONS, "review_conversation")
PARAGRAPHS = "A line.\n\n" * 60
MARKDOWN = """# Rain

**Bold** and `code`, [a link](https://e.example/) and a formula: $a_1$.

| city | rain |
|---|---|
| Lisbon | no |

- one
- two

```python
x = 1  # a number
```

> a quote
"""
# How far the end of the live reply is below that of the window.
BELOW = "document.querySelector('li[data-status=streaming]').getBoundingClientRect().bottom - innerHeight"


@pytest.fixture
def staff(chromium: Browser, site: str, user) -> Iterator[Page]:
    """Return a page of a reviewer."""
    with watched(chromium, base_url=site, viewport={"width": 1280, "height": 760}) as context:
        sign_in(context, site, make_staff("reviewer", *REVIEWER))
        yield context.new_page()


@pytest.fixture
def chat(page: Page) -> ChatPage:
    """Return the page of the owner."""
    return ChatPage(page).open()


def open_transcript(page: Page, conversation: object) -> None:
    page.goto(f"/admin/streaming_chat/conversation/{conversation}/change/")


def watch(page: Page, chat: ChatPage) -> None:
    """Have the owner ask, and open the transcript once the reply has begun."""
    chat.say("Hi")
    expect(chat.reply()).not_to_be_empty()
    open_transcript(page, chat.conversation_id)


def expect_end_in_view(page: Page) -> None:
    page.wait_for_function(f"() => {BELOW} <= 0")


def expect_still(page: Page) -> int:
    """Wait until the page has left the end and moves no more, and return where it is."""
    return page.evaluate(
        f"""() => new Promise((resolve) => {{
            let before = null;
            const look = () => {{
                if ({BELOW} > 2 && scrollY === before) return resolve(scrollY);
                before = scrollY;
                setTimeout(look, 100);
            }};
            look();
        }})"""
    )


def wheel(page: Page) -> None:
    page.mouse.move(400, 500)
    page.mouse.wheel(0, -200)


def page_up(page: Page) -> None:
    page.keyboard.press("PageUp")


def previous_message(page: Page) -> None:
    """The key of reviewing."""
    page.keyboard.press("k")


def scrollbar(page: Page) -> None:
    page.evaluate("scrollBy(0, -200)")


def expect_paragraphs(page: Page, count: int) -> None:
    # The renderer pauses eight times as long as the last drawing took, which is seconds where the browser gets little time.
    expect(page.locator("[data-live=text] p")).to_have_count(count, timeout=60_000)


class TestFollowing:
    @pytest.mark.parametrize("up", [wheel, page_up, previous_message, scrollbar])
    def test_it_yields_to_the_reader_and_comes_back(self, staff, chat, provider, up):
        first, second = Gate(), Gate()
        provider.script(Script([PARAGRAPHS, PARAGRAPHS, "The last."], gates={1: first, 2: second}))
        with held(first, second):
            watch(staff, chat)
            expect_paragraphs(staff, 60)
            expect_end_in_view(staff)
            up(staff)
            top = expect_still(staff)
            first.open()
            expect_paragraphs(staff, 120)

            assert staff.evaluate("scrollY") == top

            staff.get_by_role("button", name="Follow the end").click()
            expect_end_in_view(staff)
            second.open()
            expect(staff.locator("[data-live=text]")).to_contain_text("The last.")
            expect(staff.get_by_role("link", name="Show the saved reply")).to_be_visible()
        expect(staff.locator("[data-live=text] p").last).to_be_in_viewport()
        expect(staff.get_by_role("button", name="Follow the end")).to_be_hidden()

    def test_scrolling_to_the_end_follows_it_again(self, staff, chat, provider):
        gate = Gate()
        provider.script(Script([PARAGRAPHS, PARAGRAPHS, "x"], gates={1: gate, 2: (end := Gate())}))
        with held(gate, end):
            watch(staff, chat)
            expect_paragraphs(staff, 60)
            expect_end_in_view(staff)
            scrollbar(staff)
            expect_still(staff)
            staff.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
            expect(staff.get_by_role("button", name="Follow the end")).to_be_hidden()
            gate.open()
            expect_paragraphs(staff, 120)
            expect_end_in_view(staff)

    def test_what_needs_attention_stays_in_view(self, staff, chat, provider, user):
        """The reply is followed once the reader asks for it."""
        conversation = make_conversation(user)
        bad = make_reply(conversation, "Nonsense. " * 200)
        Feedback.objects.create(message=bad, value=-1, owner_key=conversation.owner_key)
        gate = Gate()
        provider.script(Script([PARAGRAPHS, PARAGRAPHS], gates={1: gate}))
        with held(gate):
            chat.open(f"c/{conversation.pk}").say("Again")
            expect(chat.reply().locator("p")).to_have_count(60)
            open_transcript(staff, conversation.pk)
            expect_paragraphs(staff, 60)
            expect(staff.locator(f"#m-{bad.pk}")).to_be_in_viewport()

            assert staff.evaluate(BELOW) > 0

            staff.get_by_role("button", name="Follow the end").click()
            expect_end_in_view(staff)


@pytest.fixture(
    params=[(1280, REVIEWER), (1000, PERMISSIONS), (375, PERMISSIONS), (375, REVIEWER)],
    ids=["wide", "narrow reader", "phone reader", "phone"],
)
def sized(chromium: Browser, site: str, user, request) -> Iterator[Page]:
    """Return a page of this width, of staff with these permissions."""
    width, permissions = request.param
    with watched(chromium, base_url=site, viewport={"width": width, "height": 700}) as context:
        sign_in(context, site, make_staff("stopper", *permissions))
        yield context.new_page()


class TestStop:
    def test_it_is_in_view_at_any_length(self, sized, chat, provider):
        # How text is formatted is no matter here.
        sized.route("**/markdown.js", lambda route: route.abort())
        gate = Gate()
        provider.script(Script([PARAGRAPHS * 5, "The last."], gates={1: gate}))
        with held(gate):
            watch(sized, chat)
            sized.wait_for_function("() => document.documentElement.scrollHeight > 4 * innerHeight")
            stop = sized.get_by_role("button", name="Stop this reply")
            expect_end_in_view(sized)
            expect(stop).to_be_in_viewport(ratio=1)
            for place in (0.5, 0.25):
                sized.evaluate(f"scrollTo(0, {place} * document.documentElement.scrollHeight)")
                expect(stop).to_be_in_viewport(ratio=1)

                # Nothing lies over it.
                assert stop.evaluate(
                    """(button) => {
                        const { x, y, width, height } = button.getBoundingClientRect();
                        return document.elementFromPoint(x + width / 2, y + height / 2) === button;
                    }"""
                )
            assert sized.evaluate("document.documentElement.scrollWidth <= innerWidth")
            stop.click()
            chat.expect_end("stopped")
        reply = wait_until(Message.objects.filter(status="stopped").first)

        assert outcome(reply) == ("stopped", "staff", "")

    def test_by_the_keyboard(self, staff, chat, provider):
        gate = Gate()
        provider.script(Script([PARAGRAPHS, "The last."], gates={1: gate}))
        with held(gate):
            watch(staff, chat)
            expect_paragraphs(staff, 60)
            stop = staff.get_by_role("button", name="Stop this reply")
            stop.focus()
            staff.keyboard.press("Shift+Tab")
            staff.keyboard.press("Tab")
            expect(stop).to_be_focused()

            assert stop.evaluate(RING)

            staff.keyboard.press("Enter")
            expect(staff.locator(".messagelist")).to_contain_text("The reply is being stopped.")
            chat.expect_end("stopped")


class TestMarkdown:
    def test_it_is_what_the_owner_sees(self, staff, chat, provider):
        gate = Gate()
        provider.script(Script([MARKDOWN[:60], MARKDOWN[60:], "\nEnd."], gates={2: gate}))
        with held(gate):
            watch(staff, chat)
            shown = staff.locator("[data-live=text]")
            for place in (shown, chat.reply()):
                expect(place.locator("table")).to_be_visible()
                expect(place.locator("math")).to_be_visible()
            gate.open()
            expect(staff.get_by_role("link", name="Show the saved reply")).to_be_visible()
            chat.expect_end()
            for place in (shown, chat.reply()):
                place.locator("pre").scroll_into_view_if_needed()
                expect(place.locator(".hljs-number")).to_be_visible()

        assert shown.inner_html() == chat.reply().inner_html()

    def test_code_is_in_a_frame_and_one_width(self, staff, chat, provider):
        gate = Gate()
        provider.script(Script([MARKDOWN, "x"], gates={1: gate}))
        with held(gate):
            watch(staff, chat)
            code = staff.locator("[data-live=text] .sc-code pre code")

            expect(code).to_be_visible()
            assert "mono" in code.evaluate("(code) => getComputedStyle(code).fontFamily")
            assert staff.locator(".sc-code").evaluate("(frame) => getComputedStyle(frame).borderTopStyle") == "solid"

    def test_the_source_is_there_without_the_renderer(self, staff, chat, provider):
        staff.route("**/markdown.js", lambda route: route.abort())
        gate = Gate()
        provider.script(Script(["**One**", " two"], gates={1: gate}))
        with held(gate):
            watch(staff, chat)
            expect(staff.locator("[data-live=text]")).to_have_text("**One**")
            gate.open()
            expect(staff.locator("[data-live=text]")).to_have_text("**One** two")


class TestEnding:
    def test_its_owner_stopped_it(self, staff, chat, provider):
        gate = Gate()
        provider.script(Script(["One", " two"], gates={1: gate}))
        with held(gate):
            watch(staff, chat)
            expect(staff.locator("[data-live=text]")).to_have_text("One")
            chat.stop.click()
            expect(staff.locator(".transcript-live-bar [role=status]")).to_have_text("The owner stopped the reply.")
        expect(staff.locator(".transcript-ending")).to_have_text("The owner stopped the reply.")
        expect(staff.locator(".transcript-outcome")).to_have_text("The owner stopped the reply.")
        expect(staff.get_by_role("button", name="Stop this reply")).to_have_count(0)

    @pytest.mark.parametrize(
        ("script", "sentence"),
        [
            ({}, "The model finished the reply."),
            ({"finish": "length"}, "The reply was cut off at the model's token limit."),
            ({"finish": "content_filter"}, "The provider's content filter ended the reply."),
        ],
    )
    def test_the_provider_ended_it(self, staff, chat, provider, script, sentence):
        gate = Gate()
        provider.script(Script(["One", " two"], gates={1: gate}, **script))
        with held(gate):
            watch(staff, chat)
            expect(staff.locator("[data-live=text]")).to_have_text("One")
        expect(staff.locator(".transcript-live-bar [role=status]")).to_have_text(sentence)
        expect(staff.locator(".transcript-ending")).to_have_text(sentence)

    def test_the_saved_reply_is_shown_also_where_its_address_is_the_present_one(self, staff, chat, provider):
        gate = Gate()
        provider.script(Script(["One", " two"], gates={1: gate}))
        with held(gate):
            chat.say("Hi")
            expect(chat.reply()).to_have_text("One")
            reply = Message.objects.get(status="streaming")
            staff.goto(
                f"/admin/streaming_chat/conversation/{chat.conversation_id}/change/?message={reply.pk}#m-{reply.pk}"
            )
            expect(staff.locator("[data-live=text]")).to_have_text("One")
        staff.get_by_role("link", name="Show the saved reply").click()

        expect(staff.locator("[data-follow]")).to_have_count(0)
        expect(staff.locator(f"#m-{reply.pk} .transcript-text")).to_have_text("One two")


class TestAccessibility:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_axe_finds_nothing(self, chromium, site, chat, provider, scheme):
        gate = Gate()
        provider.script(Script([MARKDOWN, "The last."], reasoning=["Hm."], gates={1: gate}))
        # axe puts a style element into the admin's page for a moment.
        context = chromium.new_context(base_url=site, color_scheme=scheme, bypass_csp=True)
        sign_in(context, site, make_staff("reviewer", *REVIEWER))
        page = context.new_page()
        with held(gate):
            watch(page, chat)
            expect(page.locator("[data-live=text] .sc-table")).to_be_visible()
            page.locator("[data-live=text] pre").scroll_into_view_if_needed()
            expect(page.locator(".hljs-number")).to_be_visible()

            assert violations(page, "#content-main") == []
            gate.open()
            expect(page.get_by_role("link", name="Show the saved reply")).to_be_visible()
            assert violations(page, "#content-main") == []
        context.close()
