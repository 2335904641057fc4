"""The list of conversations at the widths and in the languages in which there is little room."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from playwright.sync_api import Browser, Page, expect

from streaming_chat.review import reviews
from tests.factories import make_conversation, make_reply, make_staff
from tests.review.factories import finish

from .conftest import sign_in, watched

LIST = "/admin/streaming_chat/conversation/"
EVERYTHING = (
    "view_conversation",
    "view_transcript",
    "review_conversation",
    "export_transcript",
    "redact_transcript",
    "stop_reply",
)


@pytest.fixture
def rita(transactional_db: None):
    return make_staff("rita.von.ostfriesland", *EVERYTHING)


@pytest.fixture
def conversations(rita):
    """Return conversations whose columns are wide: a long title, a review that is done, and one that is under way."""
    title = "Why does the report of the third quarter differ from the figures that we published?"
    done, taken = (make_reply(make_conversation(title=title)).conversation for _number in range(2))
    finish(done, rita)
    reviews.take(taken.pk, rita)
    return done, taken


@pytest.fixture
def list_at(chromium: Browser, site: str, rita, conversations) -> Callable[..., AbstractContextManager[Page]]:
    """Return what opens the list in a window of this width and in this language."""

    @contextmanager
    def open_list(width: int, locale: str = "en") -> Iterator[Page]:
        with watched(chromium, base_url=site, viewport={"width": width, "height": 760}, locale=locale) as context:
            sign_in(context, site, rita)
            page = context.new_page()
            page.goto(LIST)
            yield page

    return open_list


# Of columns of the list: the cells that are not wholly in view.
HIDDEN_CELLS = """(table, names) => {
    const frame = table.closest(".results").getBoundingClientRect();
    return [...table.querySelectorAll(names)]
        .map((cell) => ({ name: cell.className, box: cell.getBoundingClientRect() }))
        .filter(({ box }) => box.right > Math.min(frame.right, innerWidth) + 1 || box.left < Math.max(frame.left, 0) - 1)
        .map(({ name }) => name);
}"""
# The list's tools that lie over the text of the heading.
COVERED = """(heading) => {
    const range = document.createRange();
    range.selectNodeContents(heading);
    const text = range.getBoundingClientRect();
    return [...document.querySelectorAll(".object-tools :is(a, button)")]
        .map((tool) => ({ name: tool.innerText, box: tool.getBoundingClientRect() }))
        .filter(({ box }) => box.left < text.right && box.right > text.left)
        .filter(({ box }) => box.top < text.bottom && box.bottom > text.top)
        .map(({ name }) => name);
}"""


class TestColumns:
    @pytest.mark.parametrize("locale", ["en", "de", "ar"])
    def test_status_and_review_are_in_view_without_scrolling(self, list_at, locale):
        """At 1280 px, beside the navigation and the filters."""
        with list_at(1280, locale) as page:
            table = page.locator("#result_list")
            expect(table.locator("tbody tr")).to_have_count(2)
            expect(page.locator("#nav-sidebar")).to_be_visible()
            expect(page.locator("#changelist-filter")).to_be_visible()

            assert table.evaluate(HIDDEN_CELLS, ".field-status, .field-reviewed, .field-active") == []

    def test_dates_are_short(self, list_at):
        with list_at(1280) as page:
            dates = page.locator(".field-active")

            assert [date for date in dates.all_inner_texts() if len(date) > len("11/30/2026 10:59 p.m.")] == []

            lines = dates.evaluate_all(
                """(cells) => cells.map((cell) => {
                    const range = document.createRange();
                    range.selectNodeContents(cell);
                    return range.getClientRects().length;
                })"""
            )

            assert lines == [1, 1]


class TestHeading:
    @pytest.mark.parametrize("locale", ["en", "de"])
    @pytest.mark.parametrize("width", [375, 800, 1000, 1280])
    def test_nothing_covers_it(self, list_at, width, locale):
        with list_at(width, locale) as page:
            expect(page.locator(".object-tools button").first).to_be_visible()

            assert page.locator("#content h1").evaluate(COVERED) == []
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    @pytest.mark.parametrize("locale", ["en", "de"])
    def test_the_review_bar_does_not_cover_that_of_a_message(self, list_at, conversations, locale):
        """The bar has more lines in German, and stays at the top of the window."""
        conversation = conversations[1]
        for number in range(12):
            reply = make_reply(conversation, f"Reply {number}. " + "It will rain. " * 60)
        message = reply.parent.parent
        with list_at(1000, locale) as page:
            page.goto(f"{LIST}{conversation.pk}/change/?message={message.pk}#m-{message.pk}")
            heading = page.locator(f"#m-{message.pk} h2")
            expect(heading).to_be_in_viewport(ratio=1)
            page.wait_for_function(
                """(id) => {
                    const heading = document.getElementById(id).querySelector("h2");
                    const { x, y, width, height } = heading.getBoundingClientRect();
                    return document.elementFromPoint(x + width / 2, y + height / 2) === heading;
                }""",
                arg=f"m-{message.pk}",
            )
