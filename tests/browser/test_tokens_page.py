"""The page of access tokens under the strict policy: with the keyboard alone, on a phone, also from right to left."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from streaming_chat.models import AccessToken
from tests.factories import make_token

from .axe import violations
from .chat import ChatPage
from .conftest import sign_in, watched
from .test_accessibility import expect_accessible

PHONE = {"width": 360, "height": 740}
LINKS = {"en": "Access tokens", "de": "Zugriffstokens", "ar": "رموز الوصول"}


@pytest.fixture(params=["en", "ar"])
def page(request, chromium, site, user) -> Iterator[Page]:
    with watched(chromium, base_url=site, locale=request.param, viewport=PHONE) as context:
        sign_in(context, site, user)
        yield context.new_page()


class TestLink:
    @pytest.mark.parametrize("language", LINKS)
    def test_it_is_reached_with_the_keyboard_alone(self, chromium, site, user, language):
        with watched(chromium, base_url=site, locale=language, viewport=PHONE) as context:
            sign_in(context, site, user)
            chat = ChatPage(context.new_page()).open()
            chat.press(chat.page.locator("[data-part=menu]"), by="Shift+Tab")
            link = chat.page.get_by_role("link", name=LINKS[language], exact=True)
            chat.reach(link)
            expect_accessible(chat.page)
            box = link.bounding_box()
            chat.page.keyboard.press("Enter")
            chat.page.wait_for_url("**/chat/tokens")

            # The sidebar is on the side where lines begin.
            is_at_the_right = box["x"] > PHONE["width"] - box["x"] - box["width"]

            assert is_at_the_right == (language == "ar")
            expect(chat.page.locator("h1")).to_have_text(LINKS[language])


class TestTokensPage:
    def test_a_token_is_created_with_the_keyboard_alone(self, page):
        page.goto("/chat/tokens")
        page.locator("[name=name]").focus()
        page.keyboard.type("My phone")
        page.keyboard.press("Enter")
        page.locator(".scp-token").wait_for()

        assert page.locator(".scp-token").inner_text().startswith(f"{AccessToken.objects.get()}_")

    def test_a_token_is_revoked_with_the_keyboard_alone(self, page, user):
        make_token(user)
        page.goto("/chat/tokens")
        page.locator("summary").focus()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")

        expect(page.locator(".scp-tokens")).to_have_count(0)
        assert not AccessToken.objects.exists()

    def test_it_is_accessible_and_fits_on_a_phone(self, page, user):
        make_token(user, name="a" * 100)
        page.goto("/chat/tokens")
        page.locator("[name=name]").fill("x")
        page.locator(".scp-token-form .scp-send").click()
        page.locator(".scp-token").wait_for()
        page.locator("summary").first.click()
        found = {}
        for scheme in ("dark", "light"):
            page.emulate_media(color_scheme=scheme)
            found[scheme] = violations(page)

        assert found == {"dark": [], "light": []}
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
