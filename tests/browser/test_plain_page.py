"""The chat in a browser that runs no script."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.provider_server import Gate, Script
from tests.servers import held

from .conftest import sign_in, watched


@pytest.fixture
def page(chromium, site, user) -> Iterator[Page]:
    with watched(chromium, base_url=site, java_script_enabled=False) as context:
        sign_in(context, site, user)
        yield context.new_page()


class TestPlainPage:
    def test_a_form_leads_to_the_reply_and_the_next_form_goes_on(self, page, provider):
        provider.script(Script(["It **rains**."]), Script(["Still."]))
        page.goto("/chat/?view=plain")
        page.get_by_label("Message", exact=True).fill("Will it rain?")
        page.get_by_role("button", name="Send").click()

        expect(page).to_have_url(re.compile(r"/chat/c/[0-9a-f-]{36}\?view=plain#m-"))
        expect(page.locator("strong")).to_have_text("rains")

        page.get_by_label("Message", exact=True).fill("And now?")
        page.get_by_role("button", name="Send").click()

        expect(page.locator(".scp-turn")).to_have_count(4)
        expect(page.locator(".scp-turn").last).to_contain_text("Still.")

    def test_the_page_looks_for_the_rest_of_a_reply_by_itself(self, page, provider, context):
        """Also where its address names a message: to go to a place in the same page loads nothing."""
        gate = Gate()
        provider.script(Script(["It ", "rains"], gates={1: gate}))
        with held(gate):
            tab = context.new_page()
            tab.goto("/chat/")
            tab.get_by_label("Message", exact=True).fill("Will it rain?")
            tab.get_by_label("Message", exact=True).press("Enter")
            expect(tab).to_have_url(re.compile("/chat/c/"))
            page.goto(f"{tab.url}?view=plain#messages")
            expect(page.locator(".scp-outcome")).to_have_text("Being written…")
        page.get_by_label("Message", exact=True).wait_for()

        expect(page.locator(".scp-turn").last).to_contain_text("It rains")
        expect(page.locator(".scp-outcome")).to_have_count(0)
