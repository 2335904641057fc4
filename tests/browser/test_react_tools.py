"""The pages of docs/examples/react/ with tools of the site: what they show of a call, and the user's answers."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from streaming_chat.models import Message, ToolCall
from tests.database import database_url
from tests.provider_server import ProviderServer, Script
from tests.servers import wait_until

from .conftest import serve
from .test_react_example import EXAMPLE, opened, send

PAY = ("pay", '{"amount": 200}')
PAGES = pytest.mark.parametrize("name", ["use-chat.jsx", "assistant-ui.jsx"])


@pytest.fixture(scope="module")
def site(chromium: Browser, loopback: ProviderServer, django_db_blocker) -> Iterator[str]:
    with django_db_blocker.unblock():
        url = database_url()
    with serve(DATABASE_URL=url, PROVIDER_URL=loopback.openai_url, TOOLS="1") as root:
        yield root


def asked(page: Page, site: str, provider: ProviderServer, name: str, *, answer: str = "Paid.") -> Page:
    """Return a page on which the user is asked whether a call may run."""
    provider.script(Script(["I pay."], tool_calls=[PAY]), Script([answer]))
    example = opened(page, site, EXAMPLE / name)
    send(example, "Pay")
    expect(question(example)).to_be_visible()
    return example


def question(page: Page) -> Locator:
    return page.get_by_role("group", name="Allow the call of pay?")


def press(page: Page, button: str) -> None:
    question(page).get_by_role("button", name=button).click()


def ended() -> Message:
    """Return the reply once it has ended."""
    return wait_until(Message.objects.filter(role="assistant", status__in=("completed", "stopped")).first)


@PAGES
def test_a_call_that_needs_no_answer(page: Page, site: str, provider: ProviderServer, name: str) -> None:
    provider.script(Script(["I look."], tool_calls=[("weather", '{"city": "Rome"}')]), Script(["Clear."]))
    example = opened(page, site, EXAMPLE / name)
    send(example, "Weather?")
    expect(example.get_by_text("weather: done")).to_be_visible()
    expect(example.get_by_text("Clear.", exact=True)).to_be_visible()
    example.reload()
    example.get_by_text("weather: done").click()
    expect(example.locator("pre")).to_have_text(['{ "city": "Rome" }', '{"city": "Rome", "sky": "clear"}'])
    expect(example.locator("pre").last).to_be_visible()


@PAGES
def test_allow(page: Page, site: str, provider: ProviderServer, name: str) -> None:
    """Also after a reload; the reply goes on in the same message."""
    example = asked(page, site, provider, name)
    example.reload()
    expect(question(example)).to_be_visible()
    expect(example.get_by_text('"amount": 200')).to_be_visible()
    assert ToolCall.objects.get().status == "waiting"
    press(example, "Allow")
    expect(example.get_by_text("Paid.", exact=True)).to_be_visible()
    expect(example.get_by_text("pay: done")).to_be_visible()
    expect(question(example)).to_have_count(0)
    assert ended().text == "I pay.\n\nPaid."
    example.reload()
    expect(example.get_by_text("pay: done")).to_be_visible()

    assert example.get_by_text("I pay.", exact=True).count() == 1
    assert ToolCall.objects.get().output == "paid 200 to the shop"
    assert len(provider.calls) == 2


@PAGES
def test_deny(page: Page, site: str, provider: ProviderServer, name: str) -> None:
    example = asked(page, site, provider, name, answer="Then not.")
    press(example, "Deny")
    expect(example.get_by_text("Then not.", exact=True)).to_be_visible()
    expect(example.get_by_text("pay: not allowed")).to_be_visible()
    ended()
    example.reload()
    expect(example.get_by_text("pay: not allowed")).to_be_visible()

    assert ToolCall.objects.get().status == "denied"


@PAGES
def test_two_calls_are_answered_together(page: Page, site: str, provider: ProviderServer, name: str) -> None:
    provider.script(Script(["I pay."], tool_calls=[PAY, ("post_note", '{"text": "Hi"}')]), Script(["One of two."]))
    example = opened(page, site, EXAMPLE / name)
    send(example, "Pay")
    press(example, "Allow")
    expect(example.get_by_text("pay: answered")).to_be_visible()
    example.get_by_role("group", name="Allow the call of post_note?").get_by_role("button", name="Deny").click()
    expect(example.get_by_text("One of two.", exact=True)).to_be_visible()

    ended()
    assert set(ToolCall.objects.values_list("name", "status")) == {("pay", "ok"), ("post_note", "denied")}


def test_an_answer_that_is_lost_is_sent_again(page: Page, site: str, provider: ProviderServer) -> None:
    example = asked(page, site, provider, "use-chat.jsx")
    example.route("**/ai/chat?sdk=6", lambda route: route.abort(), times=1)
    press(example, "Allow")
    example.get_by_role("button", name="Try again").click()
    expect(example.get_by_text("Paid.", exact=True)).to_be_visible()

    assert ended().text == "I pay.\n\nPaid."
    assert Message.objects.count() == 2


def test_stop_while_it_waits(page: Page, site: str, provider: ProviderServer) -> None:
    example = asked(page, site, provider, "use-chat.jsx")
    example.get_by_role("button", name="Stop").click()
    expect(example.get_by_text("pay: failed")).to_be_visible()
    provider.clear()
    provider.script(Script(["Next."]))
    send(example, "Go on")
    expect(example.get_by_text("Next.", exact=True)).to_be_visible()

    assert ToolCall.objects.get().status == "cancelled"
    assert Message.objects.get(text="Go on").parent.status == "stopped"
