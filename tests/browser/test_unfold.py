"""The admin's pages inside django-unfold, which has its own templates and none of the admin's colours: still readable."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from streaming_chat.chats.sharing import share
from streaming_chat.models import Conversation, Feedback, ShareLink
from streaming_chat.search import entries
from tests.database import database_url
from tests.factories import make_conversation, make_message, make_reply, make_staff, make_waiting

from .axe import violations
from .conftest import serve, sign_in

EVERYTHING = (
    "view_conversation",
    "view_transcript",
    "answer_tool_call",
    "review_conversation",
    "export_transcript",
    "redact_transcript",
    "stop_reply",
    "revoke_link",
    "block_owner",
    "export_owner",
    "erase_owner",
    "view_accessrecord",
)
LIST = "/admin/streaming_chat/conversation/"


# What the window, or an element that does not scroll, hides in part. What is not painted at all is no matter.
CUT_OFF = """() => {
    const cutters = (element) => {
        const all = [];
        for (let one = element.parentElement; one; one = one.parentElement) {
            const how = getComputedStyle(one).overflowX;
            if (how === "auto" || how === "scroll") return all;
            if (how === "hidden" || how === "clip") all.push(one.getBoundingClientRect());
        }
        return [...all, { left: 0, right: innerWidth }];
    };
    return [...document.querySelectorAll("#main :is(h1, h2, a, button, select, input, textarea, p, dd, td, th)")]
        .filter((element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true }))
        .filter((element) => !element.closest("#changelist-filter, [class*=unseen]"))
        .filter((element) => {
            const box = element.getBoundingClientRect();
            return box.width > 1 && cutters(element).some((cut) => box.left < cut.left - 1 || box.right > cut.right + 1);
        })
        .map((element) => `${element.tagName} ${element.className} ${element.innerText}`.slice(0, 80));
}"""

# Cells of the list whose text is higher than they are.
TOO_HIGH = """() => [...document.querySelectorAll("#result_list tbody :is(th, td)")]
    .filter((cell) => cell.scrollHeight > cell.clientHeight + 1)
    .map((cell) => cell.innerText)"""


@pytest.fixture(scope="module")
def unfold_site(chromium: Browser, django_db_blocker) -> Iterator[str]:
    with django_db_blocker.unblock():
        url = database_url()
    with serve(DATABASE_URL=url, UNFOLD="1") as root:
        yield root


@pytest.fixture(params=["light", "dark"])
def staff(chromium: Browser, unfold_site: str, transactional_db: None, request) -> Iterator[Page]:
    context = chromium.new_context(base_url=unfold_site, color_scheme=request.param)
    sign_in(context, unfold_site, make_staff("reviewer", *EVERYTHING))
    yield context.new_page()
    context.close()


@pytest.fixture
def conversation(transactional_db: None):
    conversation = make_conversation(metadata={"page": "/weather/"}, system_prompt="Be brief.")
    make_message(conversation, "Will it rain?")
    reply = make_reply(conversation, "No, **never**: `rain()` is gone.")
    Feedback.objects.create(message=reply, value=-1, comment="It rained.", by=conversation.owner)
    make_reply(conversation, "", status="failed", error_code="provider_timeout")
    return conversation


def expect_readable(page: Page, within: str, text: str) -> None:
    expect(page.locator(within).first).to_be_visible()
    expect(page.locator("body")).to_contain_text(text)

    # What else axe says there is of unfold's frame: it has no main landmark.
    assert [found for found in violations(page, within) if found[0] == "color-contrast"] == []


def run_action(page: Page, name: str) -> None:
    """Choose an action in the bar that unfold shows for selected rows, and run it, as a user does."""
    page.locator("#changelist-actions select[name=action]").select_option(name)
    page.locator("#changelist-actions").get_by_role("button", name="Run").click()


class TestUnfold:
    def test_it_is_unfold(self, staff):
        """Its side bar; the rest would say nothing if the plain admin had answered."""
        staff.goto(LIST)

        expect(staff.locator("link[href*='unfold/css/styles.css']")).to_have_count(1)

    def test_the_list(self, staff, conversation):
        staff.goto(LIST)

        expect_readable(staff, ".review-start", conversation.title)
        expect(staff.get_by_role("button", name="Export this list as CSV")).to_be_visible()

    def test_the_transcript(self, staff, conversation):
        staff.goto(f"{LIST}{conversation.pk}/change/")

        expect_readable(staff, ".transcript", "Will it rain?")

    def test_undo(self, staff, conversation):
        staff.goto(f"{LIST}{conversation.pk}/change/")
        staff.get_by_role("button", name="Done and next").click()
        expect(staff.get_by_text("The conversation is reviewed.")).to_be_visible()
        expect_readable(staff, ".review-undo", "This is the end of the queue")
        staff.keyboard.press("u")

        expect(staff.locator(".review-state")).to_contain_text("in review: reviewer")

    def test_all_pages_of_the_list(self, staff, conversation):
        for number in range(55):
            make_conversation(title=f"Chat {number}")
        staff.goto(LIST)
        staff.locator(".action-toggle").check()
        staff.get_by_role("link", name="Select all 56 conversations").click()
        run_action(staff, "assign_to_me")

        expect_readable(staff, ".review-conflict", "This applies to 56 conversations")

    @pytest.mark.parametrize(
        ("action", "said"),
        [
            ("mark_done", "1 conversation is done."),
            ("assign_to_me", "1 conversation is assigned to you."),
            ("reopen_reviews", "0 reviews are reopened."),
        ],
    )
    def test_the_actions_of_the_list(self, staff, conversation, action, said):
        staff.goto(LIST)
        staff.locator("input.action-select").first.check()
        run_action(staff, action)

        expect(staff.locator("body")).to_contain_text(said)

    @pytest.mark.parametrize("kind", ["jsonl", "csv"])
    def test_the_actions_that_export(self, staff, conversation, kind):
        staff.goto(LIST)
        staff.locator("input.action-select").first.check()
        with staff.expect_download() as download:
            run_action(staff, f"export_{kind}")

        assert download.value.suggested_filename.endswith(f".{kind}")

    def test_the_button_of_a_row(self, staff, conversation):
        share(conversation)
        staff.goto("/admin/streaming_chat/sharelink/")
        staff.get_by_role("button", name="Revoke").click()

        expect(staff.locator("body")).to_contain_text("The link is revoked.")
        assert not ShareLink.objects.exists()

    def test_every_action_is_tested(self, staff, conversation):
        """Also the ones that a later version adds."""
        staff.goto(LIST)
        actions = staff.locator("select[name=action] option").evaluate_all("(all) => all.map((each) => each.value)")

        assert set(actions) == {"", "mark_done", "assign_to_me", "reopen_reviews", "export_jsonl", "export_csv"}

    def test_titles_are_on_the_pages(self, staff, conversation):
        reply = conversation.messages.last()
        for path, title in {
            f"{conversation.pk}/change/": conversation.title,
            "numbers/": "Statistics",
            "search/": "Search texts",
        }.items():
            staff.goto(f"{LIST}{path}")

            expect(staff.locator("h1", has_text=title)).to_be_visible()

        staff.goto(f"{LIST}{conversation.pk}/change/?message={reply.pk}")
        staff.locator(f"#m-{reply.pk}").get_by_role("button", name="Redact…").click()

        expect(staff.locator("h1", has_text="Redact a message")).to_be_visible()

    def test_nothing_is_cut_off_on_a_phone(self, staff, conversation):
        staff.set_viewport_size({"width": 375, "height": 760})
        Conversation.objects.update(title="Will it rain on the long way to the sea, or only in the mountains?")
        Feedback.objects.update(comment="It rained on the way, and it rained on the way back. " * 3)
        owner = f"owner/{conversation.owner_key}/"
        pages = ["", f"{conversation.pk}/change/", "numbers/", "search/", "review/numbers/", "owners/", owner]
        lists = [f"../{name}/" for name in ("message", "sharelink", "accessrecord", "feedback")]
        for path in (*pages, *lists):
            staff.goto(f"{LIST}{path}")
            expect(staff.locator("#main")).to_be_visible()

            assert staff.evaluate(CUT_OFF) == [], path
            assert staff.evaluate(TOO_HIGH) == [], path

    def test_the_search(self, staff, conversation):
        list(entries.rebuild("default"))
        staff.goto(f"{LIST}search/")
        staff.get_by_label("Texts with all of these words").fill("rain")
        staff.get_by_role("button", name="Search", exact=True).click()

        expect_readable(staff, ".search", "Will it rain?")
        assert "rain" not in staff.url

    def test_the_search_box_of_the_list(self, staff, conversation):
        staff.goto(LIST)
        staff.locator("#searchbar").fill("ana")
        staff.locator("#searchbar").press("Enter")
        staff.wait_for_url("**/conversation/?q=*")

        expect_readable(staff, ".list-search", conversation.title)
        expect(staff.locator("#searchbar")).to_have_value("ana")
        assert "ana" not in staff.url

    def test_the_filters_with_fields(self, staff, conversation):
        staff.set_viewport_size({"width": 1680, "height": 900})
        staff.goto(LIST)
        staff.get_by_label("Value").fill("/weather/")
        staff.get_by_label("Value").press("Enter")
        staff.wait_for_url("**/conversation/?meta=*")

        expect_readable(staff, ".list-form-filter", conversation.title)
        expect(staff.get_by_label("Value")).to_have_value("/weather/")
        assert "weather" not in staff.url

        staff.get_by_label("From").fill("2020-01-01")
        staff.get_by_label("Until").fill("2020-12-31")
        staff.locator(".list-form-filter", has=staff.get_by_label("Until")).get_by_role("button").click()
        staff.wait_for_url("**/conversation/?*until=2020-12-31")

        assert "meta=" in staff.url
        expect(staff.locator("body")).not_to_contain_text(conversation.title)

    def test_the_numbers(self, staff, conversation):
        staff.goto(f"{LIST}numbers/")

        expect_readable(staff, ".numbers", "Replies and how they ended")

    def test_a_tool_call_is_answered(self, staff, conversation):
        """With fields and buttons that look like some: unfold takes their borders away."""
        call = make_waiting(make_conversation(), editable=True)[0]
        staff.set_viewport_size({"width": 375, "height": 800})
        staff.goto(f"/admin/streaming_chat/toolcall/{call.pk}/answer/")

        expect_readable(staff, ".answer-call", "refund")
        for control in staff.locator(".answer-call :is(button, textarea, input[type=text])").all():
            expect(control).to_have_css("border-top-style", "solid")
            assert control.bounding_box()["height"] >= 24

    def test_the_pages_of_owners(self, staff, conversation):
        staff.set_viewport_size({"width": 375, "height": 800})
        staff.goto(f"{LIST}owners/")

        expect_readable(staff, ".numbers", "Who used the most")

        staff.goto(f"{LIST}owner/{conversation.owner_key}/")
        staff.get_by_text("Block from chatting").click()
        staff.get_by_label("Reason, for other staff").fill("Sends spam")
        staff.get_by_role("button", name="Block", exact=True).click()

        expect_readable(staff, ".numbers", "Sends spam")
        expect(staff.get_by_role("button", name="Erase")).to_be_visible()
        assert staff.evaluate("document.querySelector('.numbers').scrollWidth <= innerWidth")

    def test_the_other_lists(self, staff, conversation):
        staff.goto(f"{LIST}{conversation.pk}/change/")
        for name, text in {"message": "failed", "feedback": "It rained.", "accessrecord": "opened"}.items():
            staff.goto(f"/admin/streaming_chat/{name}/")

            expect(staff.locator("#result_list")).to_contain_text(text)

    def test_who_read_this_persons_conversations(self, staff, conversation):
        staff.set_viewport_size({"width": 1680, "height": 900})
        staff.goto(f"{LIST}{conversation.pk}/change/")
        staff.get_by_role("link", name="who read this owner’s conversations").click()

        expect_readable(staff, ".list-readers", "reviewer (1)")
        expect(staff.get_by_label("Owner key")).to_have_value(conversation.owner_key)
        with staff.expect_download() as caught:
            staff.get_by_role("button", name="Export these records as CSV").click()
        assert caught.value.suggested_filename.endswith(".csv")
