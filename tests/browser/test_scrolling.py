"""The end of a reply stays in view while it is written, until its reader scrolls up by whatever means."""

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.factories import make_conversation, make_reply
from tests.provider_server import Gate, Script
from tests.servers import held

from .chat import ChatPage

AT_END = "(area) => area.scrollHeight - area.scrollTop - area.clientHeight < 2"
PARAGRAPHS = "A line.\n\n" * 60


def wheel(page: Page, area: Locator) -> None:
    area.hover()
    page.mouse.wheel(0, -40)


def page_up(page: Page, area: Locator) -> None:
    area.focus()
    page.keyboard.press("PageUp")


def arrow_up(page: Page, area: Locator) -> None:
    area.focus()
    page.keyboard.press("ArrowUp")


def finger(page: Page, area: Locator) -> None:
    box = area.bounding_box()
    line = page.context.new_cdp_session(page)
    line.send("Emulation.setTouchEmulationEnabled", {"enabled": True})
    places = [[{"x": box["x"] + 100, "y": box["y"] + 100 + way}] for way in range(0, 80, 10)]
    line.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": places[0]})
    for place in places[1:]:
        line.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": place})
    line.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def scrollbar(page: Page, area: Locator) -> None:
    area.evaluate("(area) => { area.scrollTop -= 3; }")


@pytest.fixture
def chat(page: Page) -> ChatPage:
    return ChatPage(page).open()


@pytest.fixture
def area(page: Page) -> Locator:
    return page.get_by_role("region", name="Messages")


def expect_at_end(area: Locator) -> None:
    area.page.wait_for_function(f"() => ({AT_END})(document.querySelector('.sc-scroll'))")


def expect_still(area: Locator) -> None:
    """Wait until the area has left its end and moves no more: browsers scroll smoothly by keys and gestures."""
    area.evaluate(
        """(area) => new Promise((resolve) => {
            let before = null;
            const look = () => {
                const { scrollTop } = area;
                const left = area.scrollHeight - scrollTop - area.clientHeight >= 2;
                if (left && scrollTop === before) return resolve();
                before = scrollTop;
                setTimeout(look, 100);
            };
            look();
        })"""
    )


class TestFollowing:
    @pytest.mark.parametrize("up", [wheel, page_up, arrow_up, finger, scrollbar])
    def test_it_yields_to_the_reader_and_comes_back(self, chat, area, provider, up):
        first, second = Gate(), Gate()
        provider.script(Script([PARAGRAPHS, PARAGRAPHS, "The last."], gates={1: first, 2: second}))
        with held(first, second):
            chat.say("Hi")
            expect(chat.reply().locator("p")).to_have_count(60)
            expect_at_end(area)
            up(chat.page, area)
            expect_still(area)
            top = area.evaluate("(area) => area.scrollTop")
            first.open()
            expect(chat.reply().locator("p")).to_have_count(120)
            assert area.evaluate("(area) => area.scrollTop") == top
            assert not area.evaluate(AT_END)

            chat.button("Jump to latest").click()
            expect_at_end(area)
            second.open()
            chat.expect_end()
        expect(chat.reply()).to_contain_text("The last.")
        expect_at_end(area)

    def test_a_key_in_a_field_is_no_scrolling(self, chat, area, provider):
        gate = Gate()
        provider.script(Script([PARAGRAPHS, PARAGRAPHS], gates={1: gate}))
        with held(gate):
            chat.say("Hi")
            expect(chat.reply().locator("p")).to_have_count(60)
            chat.text.press("ArrowUp")
            chat.text.press("Home")
        chat.expect_end()

        expect_at_end(area)


class TestLateGrowth:
    def test_colours_that_come_late_do_not_lose_the_end(self, page, area, user, site):
        conversation = make_conversation(user)
        make_reply(conversation, f"{PARAGRAPHS}```python\n{'x = 1' + chr(10)}```\n")
        late: list[Route] = []
        page.route("**/highlighter.js", lambda route: late.append(route))  # noqa: PLW0108  (it cannot bind built-ins)
        with page.expect_request("**/highlighter.js"):
            chat = ChatPage(page).open(f"c/{conversation.pk}")
        expect(chat.reply().locator("code")).to_be_visible()
        late[0].continue_()
        expect(chat.reply().locator(".hljs-number")).to_be_visible()

        expect_at_end(area)

    def test_letters_that_grow_do_not_lose_the_end(self, page, area, user, site):
        """As those of a font that comes late."""
        conversation = make_conversation(user)
        make_reply(conversation, PARAGRAPHS)
        ChatPage(page).open(f"c/{conversation.pk}")
        expect_at_end(area)
        page.evaluate("document.querySelector('.sc-messages').style.fontSize = '1.5rem'")

        expect_at_end(area)

    def test_a_window_that_shrinks_does_not_lose_the_end(self, page, area, user, site):
        conversation = make_conversation(user)
        make_reply(conversation, PARAGRAPHS)
        ChatPage(page).open(f"c/{conversation.pk}")
        expect_at_end(area)
        page.set_viewport_size({"width": 360, "height": 500})

        expect_at_end(area)
