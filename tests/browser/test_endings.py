"""The end of a reply as the chat tells it: the sentence under it and in the status line, and the buttons."""

from typing import NamedTuple

import pytest
from playwright.sync_api import Page, expect

from tests.provider_server import Gate, Script
from tests.servers import held

from .chat import ChatPage

CUT_OFF = "This reply was cut off because it reached the maximum length."
FILTERED = "The provider's content filter ended the reply."
LOST = "The reply was interrupted. The connection to the model was lost before the reply was complete."
EMPTY = "The model returned an empty reply."
REASONING_ONLY = "The model used up its reply for reasoning and wrote no text."
REFUSED = "No reply was received. The model provider rejected this site's credentials."


class Case(NamedTuple):
    """A reply, and what the chat says of its end. copies: whether it has a text to copy."""

    script: Script
    status: str
    sentence: str
    button: str
    copies: bool = True

    @property
    def can_continue(self) -> bool:
        return self.button == "Continue"


ENDINGS = {
    "length": Case(Script(["Half"], finish="length"), "completed", CUT_OFF, "Continue"),
    "filter": Case(Script(["Half"], finish="content_filter"), "completed", FILTERED, "Try again"),
    "interrupted": Case(Script(["Half", "."], fault="cut", after=1), "interrupted", LOST, "Continue"),
    "blank": Case(Script([" \n", "\t"]), "failed", EMPTY, "Try again", copies=False),
    "reasoning": Case(
        Script([], reasoning=["Hm."], finish="length"), "failed", REASONING_ONLY, "Try again", copies=False
    ),
    "refused": Case(Script(status=401), "failed", REFUSED, "Try again", copies=False),
}


@pytest.fixture
def chat(page: Page) -> ChatPage:
    return ChatPage(page).open()


@pytest.mark.parametrize("name", ENDINGS)
def test_an_ending_is_told_live_and_after_a_reload(chat, provider, name):
    ending = ENDINGS[name]
    provider.script(ending.script)
    chat.say("Hi")
    chat.expect_end(ending.status)

    expect(chat.status).to_have_text(ending.sentence)
    expect_told(chat, ending)
    chat.reload()
    expect_told(chat, ending)
    chat.page.goto(f"{chat.page.url}?view=plain")
    expect(chat.page.locator(".scp-outcome")).to_have_text(ending.sentence)
    expect(chat.button(ending.button)).to_be_visible()


def expect_told(chat: ChatPage, ending: Case) -> None:
    expect(chat.replies.last.locator(".sc-outcome")).to_have_text(ending.sentence)
    expect(chat.button(ending.button)).to_be_visible()
    expect(chat.button("Regenerate" if ending.can_continue else "Try again")).to_be_visible()
    expect(chat.button("Copy reply")).to_be_visible(visible=ending.copies)


def test_an_ordinary_ending_needs_no_sentence(chat, provider):
    chat.say("Hi")
    chat.expect_end()

    expect(chat.status).to_have_text("Reply finished")
    expect(chat.replies.last.locator(".sc-outcome")).to_be_hidden()
    expect(chat.button("Regenerate")).to_be_visible()


def test_continue_reads_on_in_one_reply(chat, provider):
    gate = Gate()
    provider.script(
        Script(["Once upon a time"], reasoning=["Hm."], finish="length"),
        Script(["upon a time", " there was a fox."], gates={1: gate}),
    )
    with held(gate):
        chat.say("A story")
        chat.expect_end()
        chat.button("Continue").click()
        expect(chat.status).to_have_text("Writing…")
        # The text so far stays in view.
        expect(chat.reply()).to_have_text("Once upon a time")
        expect(chat.replies.last.locator(".sc-outcome")).to_be_hidden()
        gate.open()
        chat.expect_end()

    expect(chat.reply()).to_have_text("Once upon a time there was a fox.")
    expect(chat.replies).to_have_count(1)
    expect(chat.replies.last).to_contain_text("2 of 2")
    expect(chat.button("Continue")).to_be_hidden()
    assert provider.calls[-1].body["messages"][1] == {"role": "assistant", "content": "Once upon a time"}
    chat.reload()
    expect(chat.reply()).to_have_text("Once upon a time there was a fox.")
    expect(chat.replies.last.locator(".sc-reasoning")).to_be_visible()


def test_a_stopped_reply_is_continued(chat, provider):
    gate = Gate()
    with held(gate):
        provider.script(Script(["One,", " two"], gates={1: gate}), Script(["One, two."]))
        chat.say("Count")
        expect(chat.reply()).to_have_text("One,")
        chat.stop.click()
        chat.expect_end("stopped")
    chat.press(chat.button("Continue"), by="Shift+Tab")
    chat.expect_end()

    expect(chat.reply()).to_have_text("One, two.")
    chat.expect_focus_kept()


def test_the_plain_page_continues_it(chat, provider):
    provider.script(Script(["One,"], finish="length"), Script(["One, two."]))
    chat.say("Count")
    chat.expect_end()
    chat.page.goto(f"{chat.page.url}?view=plain")
    chat.button("Continue").click()

    expect(chat.page.locator(".scp-assistant .scp-text")).to_have_text("One, two.")
    expect(chat.button("Continue")).to_have_count(0)


def test_the_plain_page_tries_again(chat, provider):
    provider.script(Script([" "]), Script(["One."]))
    chat.say("Count")
    chat.expect_end("failed")
    chat.page.goto(f"{chat.page.url}?view=plain")
    chat.button("Try again").click()

    expect(chat.page.locator(".scp-assistant .scp-text")).to_have_text("One.")
