"""The example site in Chromium, as `make demo` serves it: its pages, and a visitor's way from the corner to an account."""

import re
import tempfile
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.demo import demo, passwords_in, read_until_address

from .chat import ChatPage
from .conftest import watched

PAGES = ["/", "/article/", "/accounts/login/", "/chat/", "/chat/?view=plain"]
ADMIN_PAGES = ["/admin/", "/admin/streaming_chat/conversation/"]
# WCAG 1.4.10: nothing scrolls in two directions at this width.
NARROWEST = {"width": 320, "height": 640}


class Site(NamedTuple):
    """A running demo. passwords: by user."""

    root: str
    passwords: dict[str, str]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with tempfile.TemporaryDirectory() as folder, demo(folder) as process:
        address, printed = read_until_address(process)
        yield Site(address.rstrip("/"), passwords_in(printed))


@pytest.fixture
def context(chromium: Browser, site: Site) -> Iterator[BrowserContext]:
    complaints: list[str] = []
    with watched(chromium, base_url=site.root, viewport={"width": 1100, "height": 760}) as context:
        context.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        yield context

    assert complaints == []


def sign_in(page: Page, site: Site, name: str) -> None:
    """Fill the login page that is open."""
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(site.passwords[name])
    page.get_by_role("main").get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()


def open_corner(page: Page) -> ChatPage:
    page.get_by_role("button", name="Ask a question").click()
    return ChatPage(page)


def chat_as_visitor(page: Page, text: str) -> ChatPage:
    """Send a message from the article's corner and wait for the reply."""
    page.goto("/article/")
    chat = open_corner(page)
    chat.say(text)
    chat.expect_end()
    return chat


def listed(page: Page) -> list[str]:
    """Return the titles of the list in the corner."""
    page.get_by_role("button", name="Conversations", exact=True).click()
    expect(page.locator(".sc-conversation").first).to_be_visible()
    return page.locator(".sc-conversation .sc-name").all_inner_texts()


class TestPages:
    def test_none_breaks_its_policy_or_complains(self, context, site):
        page = context.new_page()
        for path in PAGES:
            page.goto(path, wait_until="networkidle")
        page.goto("/accounts/login/")
        sign_in(page, site, "staff")
        for path in [*PAGES, *ADMIN_PAGES]:
            page.goto(path, wait_until="networkidle")
        page.locator("#result_list tbody th a").first.click()

        expect(page.get_by_role("heading", level=1)).to_be_visible()

    @pytest.mark.parametrize("locale", ["en", "ar"])
    def test_none_scrolls_sideways_on_the_narrowest_screen(self, chromium, site, locale):
        options = {"base_url": site.root, "viewport": NARROWEST, "locale": locale}
        with watched(chromium, **options) as context:
            page = context.new_page()
            for path in PAGES:
                page.goto(path)
                root = page.locator(":root")

                assert root.evaluate("(root) => root.scrollWidth <= root.clientWidth"), path
                expect(root).to_have_attribute("dir", "rtl" if locale == "ar" else "ltr")

    def test_the_first_key_offers_to_skip_to_the_content(self, context):
        page = context.new_page()
        page.goto("/")
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to content")).to_be_in_viewport()
        page.keyboard.press("Enter")

        expect(page.get_by_role("main")).to_be_focused()

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_text_stands_out_from_its_page(self, chromium, site, scheme):
        with watched(chromium, base_url=site.root, color_scheme=scheme) as context:
            page = context.new_page()
            page.goto("/article/")
            paper, ink = page.evaluate(
                "(({ backgroundColor, color }) => [backgroundColor, color])(getComputedStyle(document.body))"
            )
            darkness = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (paper, ink)]

            assert (darkness[0] < darkness[1]) == (scheme == "dark")


class TestTools:
    def test_the_demo_asks_before_it_changes_something(self, context, site):
        page = context.new_page()
        page.goto("/accounts/login/")
        sign_in(page, site, "demo")
        chat = ChatPage(page).open()
        chat.button("Change my name.").click()
        page.get_by_role("button", name="Allow", exact=True).click()
        chat.expect_end()

        expect(chat.reply()).to_contain_text("The name of the user is 'Ada Lovelace' now.")
        chat.say("Find passages")
        expect(chat.replies).to_have_count(2)
        chat.expect_end()
        expect(page.locator(".sc-call-state")).to_have_text(["Done", "Done"])

    def test_a_visitor_has_no_name_to_change(self, context):
        chat = ChatPage(context.new_page()).open()
        chat.button("Change my name.").click()
        chat.page.get_by_role("button", name="Allow", exact=True).click()
        chat.expect_end()

        expect(chat.page.locator(".sc-call-state")).to_have_text("Failed")


class TestVisitor:
    def test_a_chat_in_the_corner_is_there_after_another_page(self, context):
        page = context.new_page()
        chat = chat_as_visitor(page, "Who printed the last card?")
        said = chat.reply().inner_text()
        page.get_by_role("navigation", name="Site").get_by_role("link", name="Home").click()
        expect(page).to_have_url(re.compile("/$"))
        page.get_by_role("navigation", name="Site").get_by_role("link", name="Article").click()

        expect(chat.users).to_have_text("Who printed the last card?")
        expect(chat.reply()).to_have_text(said, use_inner_text=True)

    def test_who_signs_in_is_asked_and_keeps_it(self, context, site):
        page = context.new_page()
        chat_as_visitor(page, "What did the rod hold?")
        page.get_by_role("navigation", name="Site").get_by_role("link", name="Sign in").click()
        sign_in(page, site, "demo")
        expect(page).to_have_url(re.compile("/article/$"))
        open_corner(page)
        asked = page.get_by_role("region", name="Chats from before you signed in")
        expect(asked).to_contain_text("What did the rod hold?")
        asked.get_by_role("button", name="Keep").click()
        expect(asked).to_be_hidden()

        assert "What did the rod hold?" in listed(page)
        page.goto("/chat/")
        page.get_by_role("navigation", name="Conversations").get_by_text("What did the rod hold?").click()
        expect(ChatPage(page).users).to_have_text("What did the rod hold?")

    def test_who_declines_does_not_get_it_and_is_not_asked_again(self, context, site):
        page = context.new_page()
        chat_as_visitor(page, "Somebody else's question")
        page.get_by_role("navigation", name="Site").get_by_role("link", name="Sign in").click()
        sign_in(page, site, "demo")
        open_corner(page)
        asked = page.get_by_role("region", name="Chats from before you signed in")
        asked.get_by_role("button", name="Not mine").click()
        expect(asked).to_be_hidden()
        assert "Somebody else's question" not in listed(page)
        page.goto("/chat/", wait_until="networkidle")

        expect(asked).to_be_hidden()
