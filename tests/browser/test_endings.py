"""The end of a reply as the chat tells it: the sentence under it and in the status line, and the buttons."""

from typing import NamedTuple

import pytest
from playwright.sync_api import Page, expect

from tests.provider_server import Script

from .chat import ChatPage

CUT_OFF = "This reply was cut off because it reached the maximum length."
FILTERED = "The provider's content filter ended the reply."
LOST = "The reply was interrupted. The connection to the model was lost before the reply was complete."
EMPTY = "The model returned an empty reply."
REASONING_ONLY = "The model used up its reply for reasoning and wrote no text."
REFUSED = "No reply was received. The model provider rejected this site's credentials."


class Case(NamedTuple):
    """A reply, and what the chat says of its end. copies: whether it offers to copy the text."""

    script: Script
    status: str
    sentence: str
    button: str
    copies: bool = True


ENDINGS = {
    "length": Case(Script(["Half"], finish="length"), "completed", CUT_OFF, "Regenerate"),
    "filter": Case(Script(["Half"], finish="content_filter"), "completed", FILTERED, "Try again"),
    "interrupted": Case(Script(["Half", "."], fault="cut", after=1), "interrupted", LOST, "Try again"),
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


def expect_told(chat: ChatPage, ending: Case) -> None:
    expect(chat.replies.last.locator(".sc-outcome")).to_have_text(ending.sentence)
    expect(chat.button(ending.button)).to_be_visible()
    expect(chat.button("Copy reply")).to_be_visible(visible=ending.copies)


def test_an_ordinary_ending_needs_no_sentence(chat, provider):
    chat.say("Hi")
    chat.expect_end()

    expect(chat.status).to_have_text("Reply finished")
    expect(chat.replies.last.locator(".sc-outcome")).to_be_hidden()
    expect(chat.button("Regenerate")).to_be_visible()
