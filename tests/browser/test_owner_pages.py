"""The page of a user in the admin: blocking, what the user then sees, unblocking, export and erasure, in Chromium."""

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from streaming_chat.models import BlockedOwner, Conversation
from tests.factories import make_conversation, make_reply, make_staff

from .axe import violations
from .conftest import sign_in

LIST = "/admin/streaming_chat/conversation/"
EVERYTHING = ("view_conversation", "view_transcript", "block_owner", "export_owner", "erase_owner")


@pytest.fixture
def staff(chromium: Browser, site: str, transactional_db: None) -> Iterator[Page]:
    context = chromium.new_context(base_url=site)
    sign_in(context, site, make_staff("staff", *EVERYTHING))
    yield context.new_page()
    context.close()


@pytest.fixture
def owned(transactional_db: None) -> Conversation:
    return make_reply(make_conversation(), "No, **never**.").conversation


class TestOwnerPage:
    def test_the_list_leads_to_a_block_and_its_end(self, staff, owned):
        staff.goto(LIST)
        staff.locator("#result_list").get_by_role("link", name="ana", exact=True).click()
        staff.get_by_text("Block from chatting").click()
        staff.get_by_label("Reason, for other staff").fill("Sends spam")
        staff.get_by_role("button", name="Block", exact=True).click()
        expect(staff.get_by_text("Sends spam")).to_be_visible()

        assert BlockedOwner.objects.get().owner_key == owned.owner_key

        staff.get_by_role("button", name="Unblock").click()
        expect(staff.get_by_text("Chatting is allowed again for ana.")).to_be_visible()

        assert not BlockedOwner.objects.exists()

    def test_an_export_is_confirmed_and_saved(self, staff, owned):
        staff.goto(f"{LIST}owner/{owned.owner_key}/")
        form = staff.locator("form[action$='/export/']")
        form.get_by_role("textbox").fill("ana")
        with staff.expect_download() as download:
            form.get_by_role("button").click()

        assert json.loads(download.value.path().read_text())["username"] == "ana"

    def test_an_erasure_is_confirmed(self, staff, owned):
        staff.goto(f"{LIST}owner/{owned.owner_key}/")
        form = staff.locator("form[action$='/erase/']")
        form.get_by_role("textbox").fill("bo")
        form.get_by_role("button").click()
        expect(staff.get_by_text("Nothing was done")).to_be_visible()
        form.get_by_role("textbox").fill("ana")
        form.get_by_role("button").click()
        expect(staff.get_by_text("Everything that ana wrote is erased.")).to_be_visible()
        owned.refresh_from_db()

        assert owned.erased_at

    @pytest.mark.parametrize("width", [1280, 375])
    def test_nothing_is_cut_off_and_axe_finds_nothing(self, staff, owned, width):
        staff.set_viewport_size({"width": width, "height": 800})
        for address in (f"{LIST}owners/", f"{LIST}owner/{owned.owner_key}/"):
            staff.goto(address)

            assert staff.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert violations(staff, "#content") == []
