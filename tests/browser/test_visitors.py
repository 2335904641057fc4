"""Visitors in Chromium: their first message behind a proxy that buffers, their limits, and the way to an account."""

from collections.abc import Iterator
from importlib import import_module

import pytest
from django.conf import settings
from django.http import HttpRequest
from playwright.sync_api import Browser, BrowserContext, expect

from streaming_chat.accounts.owners import make_visitor
from streaming_chat.models import Conversation, Message
from tests.database import database_url
from tests.provider_server import ProviderServer
from tests.servers import held

from .chat import ChatPage
from .conftest import serve, watched
from .line import BufferingLine
from .test_bad_networks import PATIENCE_MILLISECONDS, PERIOD_MILLISECONDS, gated

PASSWORD = "a word for tests"


@pytest.fixture
def open_site(chromium: Browser, provider: ProviderServer, user) -> Iterator[str]:
    """Return the root of a site where visitors have one reply a day; ana has an account."""
    user.set_password(PASSWORD)
    user.save()
    with serve(DATABASE_URL=database_url(), PROVIDER_URL=provider.openai_url, VISITOR_REPLIES="1") as root:
        yield root


@pytest.fixture
def stranger(chromium: Browser, open_site: str) -> Iterator[BrowserContext]:
    """Return a browser that the site has never seen."""
    with watched(chromium, base_url=open_site) as context:
        yield context


def sign_in(chat: ChatPage) -> None:
    """Follow the link of an error, and sign in."""
    page = chat.page
    chat.error.get_by_role("link", name="Sign in").click()
    page.get_by_label("Username").fill("ana")
    page.get_by_label("Password").fill(PASSWORD)
    with page.expect_response("**/api/models"):
        page.get_by_label("Password").press("Enter")


class TestFirstMessage:
    @pytest.mark.parametrize("holds_headers", [True, False])
    def test_behind_a_proxy_that_buffers_it_is_shown_and_sent_once(self, chromium, open_site, provider, holds_headers):
        """The stream's headers, which a cookie could come with, are held back with it."""
        script, (gate,) = gated("One", " two")
        provider.script(script)
        with (
            held(gate),
            BufferingLine(open_site, holds_headers=holds_headers) as line,
            watched(chromium, base_url=line.url) as context,
        ):
            page = context.new_page()
            page.clock.install()
            chat = ChatPage(page).open()
            chat.say("Hi")
            provider.wait_for_call()
            with page.expect_response(lambda response: "client_id=" in response.url and response.ok):
                page.clock.fast_forward(PATIENCE_MILLISECONDS)
            page.clock.fast_forward(PERIOD_MILLISECONDS)
            expect(chat.reply()).to_have_text("One")
            gate.open()
            chat.expect_end()

        assert Message.objects.get(role="assistant").text == "One two"
        assert len(provider.calls) == 1


class TestLimit:
    def test_signing_in_keeps_what_was_written(self, stranger, provider):
        chat = ChatPage(stranger.new_page()).open()
        chat.say("Who printed the last card?")
        chat.expect_end()
        chat.say("And the first?")
        expect(chat.error).to_contain_text("Sign in, or try again tomorrow.")
        expect(chat.text).to_have_value("And the first?")
        sign_in(chat)

        expect(chat.text).to_have_value("And the first?")
        chat.button("Keep").click()
        expect(chat.page.locator(".sc-conversation .sc-name")).to_have_text("Who printed the last card?")
        chat.text.press("Enter")
        chat.expect_end()
        assert Conversation.objects.filter(owner__username="ana").count() == 2

    def test_what_was_handed_over_is_there_once(self, stranger, provider):
        chat = ChatPage(stranger.new_page()).open()
        chat.say("One")
        chat.expect_end()
        chat.say("Two")
        expect(chat.error).to_be_visible()
        sign_in(chat)
        expect(chat.text).to_have_value("Two")
        chat.text.fill("")
        chat.reload()

        expect(chat.text).to_have_value("")


class TestClaim:
    def test_what_is_kept_is_in_view_again(self, stranger, provider):
        chat = ChatPage(stranger.new_page()).open()
        chat.say("Who printed the last card?")
        chat.expect_end()
        chat.page.goto("/accounts/login/?next=/chat/")
        chat.page.get_by_label("Username").fill("ana")
        chat.page.get_by_label("Password").fill(PASSWORD)
        chat.page.get_by_label("Password").press("Enter")
        chat.button("Keep").click()

        expect(chat.users).to_have_text("Who printed the last card?")

    def test_titles_do_not_turn_the_question_around(self, page, user, context):
        request = HttpRequest()
        request.session = import_module(settings.SESSION_ENGINE).SessionStore(context.cookies()[0]["value"])
        key = make_visitor(request)
        request.session.save()
        for number in range(7):
            Conversation.objects.create(owner_key=key, title=f"\u202eNumber\u2069 {number}")
        ChatPage(page).open()
        asked = page.get_by_role("region", name="Chats from before you signed in").locator("p")

        expect(asked).to_contain_text("… (7)")
        text = asked.text_content()
        assert text.count("“Number ") == 5
        assert not {"\u202e"} & set(text)
        assert text.count("\u2068") == text.count("\u2069") == 5
