"""The buttons under messages: none moves under the pointer, and none that is missing leaves a hole."""

from itertools import pairwise

import pytest
from playwright.sync_api import Locator, Page, expect

from streaming_chat.models import Conversation, Message
from tests.factories import make_conversation, make_message, make_reply
from tests.provider_server import Gate, Script
from tests.servers import held

from .chat import ChatPage

# The buttons that are there to see, from the beginning of the row to its end, and where each begins and ends.
ROW = """(row) => [...row.querySelectorAll("button, summary")]
    .filter((button) => button.checkVisibility({ visibilityProperty: true, opacityProperty: true }))
    .map((button) => [button.title || button.dataset.part, button.getBoundingClientRect()])
    .map(([name, { left, right }]) => [name, Math.round(left), Math.round(right)])
    .sort((one, other) => one[1] - other[1])"""
# Above each message of the user the distance to the reply before it, and below it the one to its own.
DISTANCES = """() => [...document.querySelectorAll(".sc-user")].map((message) => {
    const { top, bottom } = message.querySelector(".sc-bubble").getBoundingClientRect();
    const above = message.previousElementSibling?.getBoundingClientRect().bottom;
    return [above === undefined ? null : top - above, message.nextElementSibling.getBoundingClientRect().top - bottom];
})"""
# As far apart as two buttons may be, in pixels.
HOLE = 12


@pytest.fixture
def conversation(user) -> Conversation:
    return make_conversation(user)


def row(reply: Locator) -> dict[str, tuple[int, int]]:
    """Return where each button of a reply begins and ends."""
    return {name: (left, right) for name, left, right in reply.locator(".sc-actions").evaluate(ROW)}


def centre(button: Locator) -> tuple[float, float]:
    box = button.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def expect_no_hole(found: dict[str, tuple[int, int]], *, at_end: set[str] = frozenset()) -> None:
    """See that each button follows the one before it; those at the end of the row stand by themselves."""
    spans = [span for name, span in found.items() if name not in at_end]

    assert [b[0] - a[1] for a, b in pairwise(spans) if b[0] - a[1] > HOLE] == []


class TestReply:
    PAGER = {"Previous reply", "Next reply"}

    def test_another_reply_moves_no_button(self, page, conversation, site, provider):
        make_reply(conversation, "One")
        chat = ChatPage(page).open(f"c/{conversation.pk}")
        expect(chat.button("Regenerate")).to_be_visible()
        before = row(chat.replies.last)
        chat.button("Regenerate").click()
        chat.expect_end()
        expect(chat.button("Previous reply")).to_be_visible()

        after = row(chat.replies.last)
        assert {name: after[name] for name in before} == before
        assert after.keys() - before.keys() == self.PAGER
        expect_no_hole(after, at_end=self.PAGER)

    def test_a_second_try_has_the_same_button_under_the_pointer(self, page, conversation, site, provider):
        """A reply that failed has fewer buttons, and a button with another text."""
        reply = make_reply(conversation, "", status="failed", end_reason="")
        reply.error_code = "provider_auth"
        reply.save(update_fields=["error_code"])
        chat = ChatPage(page).open(f"c/{conversation.pk}")
        again = chat.replies.last.locator("[data-part=again]")
        expect(again).to_have_accessible_name("Try again")
        expect(chat.button("Copy reply")).to_be_hidden()
        left, right = row(chat.replies.last)["again"]
        again.click()
        chat.expect_end()

        expect(again).to_have_accessible_name("Regenerate")
        assert row(chat.replies.last)["again"] == (left, right)

    @pytest.mark.parametrize("width", [360, 1100])
    def test_the_pager_stays_under_the_pointer(self, page, conversation, site, width):
        """Between replies of different length, one of which has nothing to copy or judge."""
        make_reply(conversation, "line\n\n" * 40)
        first = make_reply(conversation, "One\n\n" * 9, parent=make_message(conversation, "And?"))
        make_reply(conversation, "", status="failed", parent=first.parent)
        make_reply(conversation, "Three", parent=first.parent)
        page.set_viewport_size({"width": width, "height": 760})
        chat = ChatPage(page).open(f"c/{conversation.pk}")
        previous = chat.button("Previous reply")
        expect(chat.replies.last).to_contain_text("3 of 3")
        point = centre(previous)
        for place in ("2 of 3", "1 of 3"):
            page.mouse.click(*point)
            expect(chat.replies.last).to_contain_text(place)

            assert centre(previous) == pytest.approx(point, abs=1)


class TestWhileWriting:
    def test_the_buttons_of_other_messages_stay_and_do_nothing(self, page, conversation, site, provider):
        make_reply(conversation, "One", parent=make_message(conversation, "Hi"))
        chat = ChatPage(page).open(f"c/{conversation.pk}")
        expect(chat.button("Regenerate")).to_be_visible()
        before = row(chat.replies.first)
        gate = Gate()
        provider.script(Script(["Half", " whole"], gates={1: gate}))
        with held(gate):
            chat.say("And?")
            expect(chat.reply()).to_have_text("Half")

            assert row(chat.replies.first) == before
            again = chat.replies.first.locator("[data-part=again]")
            expect(again).to_be_disabled()
            again.click(force=True)
            edit = page.locator(".sc-user").first.get_by_role("button", name="Edit message")
            edit.click(force=True)
            expect(page.locator(".sc-edit")).to_have_count(0)
        chat.expect_end()

        expect(again).to_be_enabled()
        assert Message.objects.filter(role="assistant").count() == 2


class TestDistances:
    @pytest.mark.parametrize("pointer", ["fine", "coarse"])
    def test_a_message_is_nearer_to_its_reply_than_to_the_one_before(self, page: Page, conversation, site, pointer):
        make_reply(conversation, "One", parent=make_message(conversation, "Hi"))
        make_reply(conversation, "Two", parent=make_message(conversation, "And?"))
        if pointer == "coarse":
            page.context.new_cdp_session(page).send("Emulation.setTouchEmulationEnabled", {"enabled": True})
        chat = ChatPage(page).open(f"c/{conversation.pk}")
        expect(chat.replies).to_have_count(2)

        (_none, _below), (above, below) = page.evaluate(DISTANCES)
        assert below < above
