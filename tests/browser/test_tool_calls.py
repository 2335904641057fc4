"""The tool calls of a reply: their states, and the user's answers, by the keyboard and by touch, also without a script."""

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from streaming_chat.models import ToolCall
from tests.database import database_url
from tests.hostile import HOSTILE
from tests.provider_server import ProviderServer, Script

from .axe import violations
from .chat import ChatPage
from .conftest import serve, sign_in, watched
from .test_hostile import expect_harmless
from .test_touch import PHONE, SMALL

PAY = ("pay", '{"amount": 200}')
NOTE = ("post_note", '{"text": "Hello"}')
# A page that scrolls sideways, in either direction of writing.
OVERFLOW = "document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth"


@pytest.fixture(scope="module")
def site(chromium: Browser, loopback: ProviderServer, django_db_blocker) -> Iterator[str]:
    with django_db_blocker.unblock():
        url = database_url()
    with serve(DATABASE_URL=url, PROVIDER_URL=loopback.openai_url, TOOLS="1") as root:
        yield root


@pytest.fixture
def chat(page: Page, site: str, provider: ProviderServer) -> ChatPage:
    return ChatPage(page).open()


def lines(chat: ChatPage) -> Locator:
    return chat.replies.last.locator(".sc-call")


def question(chat: ChatPage, name: str = "pay", place: int = 0) -> Locator:
    return chat.page.get_by_role("group", name=f"Allow the model to run \u2068{name}\u2069 with these arguments?").nth(
        place
    )


def ask(chat: ChatPage, provider: ProviderServer, *calls: tuple[str, str], answer: str = "Paid.") -> None:
    """Send a message for which the model makes these calls, and wait until the first question is there."""
    provider.script(Script(["I pay."], tool_calls=list(calls or [PAY])), Script([answer]))
    chat.say("Pay")
    expect(chat.replies.last).to_have_attribute("data-status", "waiting")


def expect_states(chat: ChatPage, *states: str) -> None:
    expect(lines(chat).locator(".sc-call-state")).to_have_text(list(states))


def expect_accessible(page: Page) -> None:
    """Let axe look at the page as it is, in light and in dark."""
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        assert violations(page) == []


def told(provider: ProviderServer) -> list[str]:
    """Return the results that the provider was sent last."""
    return [message["content"] for message in provider.calls[-1].body["messages"] if message["role"] == "tool"]


class TestLines:
    def test_one_for_each_call_with_its_state_and_the_rest_folded(self, chat, provider):
        calls = [("weather", "{}"), ("nowhere", "{}"), ("weather", '{"city": "Porto"}')]
        provider.script(Script(["I look."], tool_calls=calls), Script(["Clear."]))
        chat.say("Weather?")
        chat.expect_end()

        expect(lines(chat).locator(".sc-call-name")).to_have_text(["weather", "nowhere", "weather"])
        expect_states(chat, "Failed", "Failed", "Done")
        expect(lines(chat).locator("pre:visible")).to_have_count(0)
        expect(chat.reply()).to_contain_text("Clear.")

        chat.press(lines(chat).last.locator("summary"), by="Shift+Tab")
        expect(lines(chat).last.get_by_role("group", name="Arguments")).to_have_text('{ "city": "Porto" }')
        expect(lines(chat).last.get_by_role("group", name="Result")).to_contain_text('"sky": "clear"')
        expect_accessible(chat.page)

    def test_while_it_runs(self, chat, provider, tmp_path):
        gate = tmp_path / "gate"
        provider.script(Script([""], tool_calls=[("held", json.dumps({"path": str(gate)}))]), Script(["There."]))
        chat.say("Wait")
        expect_states(chat, "Running…")
        expect_accessible(chat.page)
        gate.touch()
        chat.expect_end()

        expect_states(chat, "Done")

    def test_after_a_reload(self, chat, provider):
        provider.script(Script([""], tool_calls=[("weather", '{"city": "Köln"}')]), Script(["Clear."]))
        chat.say("Weather?")
        chat.expect_end()
        chat.reload()

        expect_states(chat, "Done")
        lines(chat).locator("summary").click()
        expect(lines(chat).get_by_role("group", name="Result")).to_contain_text("clear")

    def test_another_reply_has_calls_of_its_own(self, chat, provider):
        provider.script(Script([""], tool_calls=[("weather", '{"city": "Köln"}')]), Script(["Clear."]), Script(["So."]))
        chat.say("Weather?")
        chat.expect_end()
        chat.button("Regenerate").click()
        expect(chat.reply()).to_have_text("So.")
        chat.expect_end()

        expect(lines(chat)).to_have_count(0)


class TestAnswers:
    def test_by_the_keyboard(self, chat, provider):
        """The question is announced, and takes no focus from a user who writes."""
        ask(chat, provider)
        expect(chat.status).to_have_text("Waiting for your answer")
        expect(chat.text).to_be_focused()
        expect(chat.replies.last).not_to_have_attribute("aria-busy", "true")
        expect_states(chat, "Waiting for you")
        expect_accessible(chat.page)
        chat.press(question(chat).get_by_role("button", name="Allow"), by="Shift+Tab")
        chat.expect_end()

        expect_states(chat, "Done")
        chat.expect_focus_kept()
        assert told(provider) == ["paid 200 to the shop"]

    def test_a_denial_with_a_reason_by_the_keyboard(self, chat, provider):
        ask(chat, provider, answer="Then not.")
        deny = question(chat).get_by_role("button", name="Deny…")
        reason = question(chat).get_by_label("Why not? The model reads it. (optional)")
        chat.press(deny, by="Shift+Tab")
        expect(reason).to_be_focused()
        expect_accessible(chat.page)
        chat.page.keyboard.press("Escape")
        expect(deny).to_be_focused()
        expect(chat.replies.last).to_have_attribute("data-status", "waiting")
        chat.page.keyboard.press("Enter")
        chat.page.keyboard.type("Too much")
        chat.press(question(chat).get_by_role("button", name="Deny", exact=True))
        chat.expect_end()

        expect_states(chat, "Denied")
        chat.expect_focus_kept()
        assert "Too much" in told(provider)[0]

    def test_changed_arguments(self, chat, provider):
        ask(chat, provider, ("pay", '{"amount": 200, "to": "12345678901234567890"}'))
        field = question(chat).get_by_label("Arguments, which you can change")
        allow = question(chat).get_by_role("button", name="Allow")
        for wrong in ("{", "[1]"):
            field.fill(wrong)
            allow.click()
            expect(question(chat).get_by_role("alert")).to_have_text("The arguments must be a JSON object.")
            expect(field).to_be_focused()
        expect_accessible(chat.page)
        field.fill('{"amount": "much"}')
        allow.click()
        expect(chat.page.locator("[data-part=error]")).to_be_visible()
        field.fill('{"amount": 5, "to": "12345678901234567890"}')
        allow.click()
        chat.expect_end()

        assert told(provider)[0].endswith("paid 5 to 12345678901234567890")
        assert json.loads(ToolCall.objects.get().answer["arguments"])["amount"] == 5

    def test_arguments_that_were_not_changed_are_not_sent(self, chat, provider):
        ask(chat, provider)
        question(chat).get_by_role("button", name="Allow").click()
        chat.expect_end()

        assert ToolCall.objects.get().answer == {"approved": True}

    def test_after_a_reload(self, chat, provider):
        ask(chat, provider)
        chat.reload()
        expect(chat.status).to_have_text("Waiting for your answer")
        question(chat).get_by_role("button", name="Allow").click()
        chat.expect_end()

        expect(chat.reply()).to_contain_text("Paid.")
        expect_states(chat, "Done")

    def test_in_a_second_tab(self, chat, provider, context):
        ask(chat, provider)
        other = ChatPage(context.new_page()).open(f"c/{chat.conversation_id}")
        question(other).get_by_role("button", name="Allow").click()
        other.expect_end()
        chat.expect_end()

        expect_states(chat, "Done")
        expect(question(chat)).to_have_count(0)
        assert ToolCall.objects.get().runs == 1

    def test_several_one_after_the_other(self, chat, provider, context):
        """The keyboard goes on to the next question; what was answered is known to other tabs, and after a reload."""
        ask(chat, provider, PAY, ("weather", '{"city": "Köln"}'), NOTE)
        other = ChatPage(context.new_page()).open(f"c/{chat.conversation_id}")
        expect_states(other, "Waiting for you", "Done", "Waiting for you")
        chat.press(question(chat).get_by_role("button", name="Allow"), by="Shift+Tab")
        expect(question(chat, "post_note").get_by_role("button", name="Allow")).to_be_focused()
        for tab in (chat, other):
            expect_states(tab, "Allowed", "Done", "Waiting for you")
        chat.reload()
        expect_states(chat, "Allowed", "Done", "Waiting for you")
        chat.press(question(chat, "post_note").get_by_role("button", name="Allow"), by="Shift+Tab")
        for tab in (chat, other):
            tab.expect_end()
            expect_states(tab, "Done", "Done", "Done")

    def test_another_device_was_first(self, chat, provider, chromium, site, user):
        """The user is told, and sees what was answered there."""
        ask(chat, provider, PAY, NOTE)
        with watched(chromium, base_url=site) as context:
            sign_in(context, site, user)
            device = ChatPage(context.new_page()).open(f"c/{chat.conversation_id}")
            question(device).get_by_role("button", name="Deny…").click()
            question(device).get_by_role("button", name="Deny", exact=True).click()
            expect_states(device, "Denied", "Waiting for you")
        question(chat).get_by_role("button", name="Allow").click()
        expect(chat.page.locator("[data-part=error-text]")).not_to_be_empty()

        expect_states(chat, "Denied", "Waiting for you")
        expect(question(chat)).to_have_count(0)

    def test_a_stop_while_it_waits(self, chat, provider):
        ask(chat, provider)
        chat.stop.click()
        chat.expect_end("stopped")

        expect_states(chat, "Cancelled")
        expect(question(chat)).to_have_count(0)

    def test_a_call_of_a_clients_tool_can_only_be_denied(self, chat, provider):
        ask(chat, provider, ("locate", "{}"), answer="Then not.")
        asked = chat.page.get_by_role("group", name="locate\u2069 waits for a program of yours to run it.")
        expect(asked.get_by_role("button", name="Allow")).to_be_hidden()
        expect_accessible(chat.page)
        asked.get_by_role("button", name="Deny…").click()
        asked.get_by_role("button", name="Deny", exact=True).click()
        chat.expect_end()

        expect_states(chat, "Denied")

    def test_a_message_waits_for_the_end(self, chat, provider):
        ask(chat, provider)
        provider.script(Script(["Welcome."]))
        chat.say("Thanks")
        expect(chat.page.get_by_role("group", name="Queued message")).to_be_visible()
        question(chat).get_by_role("button", name="Allow").click()
        expect(chat.replies).to_have_count(2)
        chat.expect_end()

        expect(chat.reply()).to_have_text("Welcome.")


class TestOnlyStaff:
    """The owner may not answer, and is not asked."""

    @pytest.fixture(scope="class")
    def site(self, chromium: Browser, loopback: ProviderServer, django_db_blocker) -> Iterator[str]:
        with django_db_blocker.unblock():
            url = database_url()
        with serve(DATABASE_URL=url, PROVIDER_URL=loopback.openai_url, TOOLS="1", ONLY_STAFF="1") as root:
            yield root

    def test_it_waits_for_another_person(self, chat, provider):
        ask(chat, provider)

        expect_states(chat, "Waiting for another person")
        expect(chat.page.locator("[data-part=status]")).to_have_text("Waiting for another person")
        expect(chat.page.get_by_role("button", name="Allow")).to_have_count(0)
        expect_accessible(chat.page)

        chat.reload()

        expect_states(chat, "Waiting for another person")
        expect(chat.page.get_by_role("button", name="Allow")).to_have_count(0)
        chat.page.get_by_role("button", name="Stop").click()
        expect_states(chat, "Cancelled")


class TestList:
    def test_a_conversation_that_waits_is_marked(self, chat, provider):
        ask(chat, provider)
        mark = chat.page.locator(".sc-conversation [data-part=mark]")
        expect(mark).to_have_attribute("aria-label", "Waiting for your answer")
        expect(mark).to_be_visible()
        chat.page.get_by_role("link", name="New chat").first.click()
        expect(mark).to_be_visible()
        expect_accessible(chat.page)
        chat.page.locator(".sc-conversation").click()
        question(chat).get_by_role("button", name="Allow").click()
        chat.expect_end()

        expect(mark).to_be_hidden()


class TestPhone:
    @pytest.mark.parametrize("language", ["en", "de", "ar"])
    def test_it_is_answered_by_a_finger(self, chromium, site, user, provider, language):
        with watched(chromium, base_url=site, locale=language, **PHONE) as context:
            sign_in(context, site, user)
            chat = ChatPage(context.new_page())
            chat.page.goto("/chat/")
            provider.script(Script(["I pay."], tool_calls=[("pay", json.dumps({"amount": 2, "to": "x" * 300}))]))
            provider.script(Script(["Paid."]))
            chat.page.locator("[data-part=text]").first.fill("Pay")
            chat.page.locator("[data-part=send]").tap()
            asked = chat.page.locator(".sc-answer")
            expect(asked).to_be_visible()

            assert chat.page.evaluate(SMALL) == []
            assert chat.page.evaluate(OVERFLOW) == 0
            assert violations(chat.page) == []

            asked.locator("[data-part=deny]").tap()
            assert chat.page.evaluate(SMALL) == []
            assert violations(chat.page) == []
            asked.locator("[data-part=back]").tap()
            asked.locator("[data-part=allow]").tap()
            expect(chat.replies.last).to_have_attribute("data-status", "completed")


class TestHostile:
    @pytest.mark.parametrize("name", [*HOSTILE])
    def test_a_question_about_it(self, page, site, provider, name):
        """Arguments, a result, and a name that no tool has: all are text, here and on the plain page."""
        text = HOSTILE[name]
        chat = ChatPage(page).open()
        ask(chat, provider, ("post_note", json.dumps({"text": text})), (text[:60] or "x", "{}"))
        expect(question(chat, "post_note").get_by_role("group", name="Arguments")).to_be_visible()
        expect_harmless(page)
        plain = page.context.new_page()
        plain.goto(f"/chat/c/{chat.conversation_id}?view=plain")
        expect(plain.get_by_role("button", name="Allow")).to_be_visible()
        expect_harmless(plain)
        question(chat, "post_note").get_by_role("button", name="Allow").click()
        chat.expect_end()
        page.evaluate("document.querySelectorAll('.sc-call details').forEach((details) => { details.open = true; })")

        expect(lines(chat).first.get_by_role("group", name="Result")).to_be_visible()
        assert lines(chat).first.get_by_role("group", name="Result").text_content() == text
        expect_harmless(page)

    def test_a_text_that_runs_backwards_is_not_read_as_another_one(self, chat, provider):
        ask(chat, provider, ("post_note", '{"text": "\u202ekcehc"}'))

        expect(question(chat, "post_note").get_by_role("group", name="Arguments")).to_contain_text("\\u202ekcehc")


class TestPlainPage:
    @pytest.fixture
    def plain(self, chromium, site, user, provider) -> Iterator[Page]:
        with watched(chromium, base_url=site, java_script_enabled=False) as context:
            sign_in(context, site, user)
            yield context.new_page()

    def begin(self, plain: Page, provider: ProviderServer, *calls: tuple[str, str]) -> Locator:
        """Send a message, and return the form of the first question."""
        provider.script(Script(["I pay."], tool_calls=list(calls or [PAY])), Script(["So be it."]))
        plain.goto("/chat/?view=plain")
        plain.get_by_label("Message", exact=True).fill("Pay")
        plain.get_by_role("button", name="Send").click()
        form = plain.locator(".scp-answer").first
        expect(form).to_contain_text("Allow the model to run")
        return form

    def test_it_is_allowed(self, plain, provider):
        form = self.begin(plain, provider)
        expect(plain.get_by_label("Message", exact=True)).to_have_count(0)
        expect(plain.locator(".scp-conversations")).to_contain_text("Waiting for your answer")
        expect(plain.locator("meta[http-equiv=refresh]")).to_have_count(0)
        form.get_by_role("button", name="Allow").click()

        expect(plain.locator(".scp-turn").last).to_contain_text("So be it.")
        expect(plain.locator("summary")).to_have_text("Tool call: pay · Done")
        expect(plain.get_by_label("Message", exact=True)).to_be_visible()
        assert told(provider) == ["paid 200 to the shop"]

    def test_it_is_denied_with_a_reason(self, plain, provider):
        form = self.begin(plain, provider)
        form.get_by_label("Reason, if you deny it (optional)").fill("Too much")
        form.get_by_role("button", name="Deny").click()

        expect(plain.locator("summary")).to_have_text("Tool call: pay · Denied")
        assert "Too much" in told(provider)[0]

    def test_changed_arguments(self, plain, provider):
        """What is not JSON is shown again, with the error."""
        form = self.begin(plain, provider)
        form.get_by_label("Arguments, which you can change").fill("{")
        form.get_by_role("button", name="Allow").click()
        expect(plain.get_by_role("alert")).to_have_text("The arguments must be a JSON object.")
        field = plain.get_by_label("Arguments, which you can change")
        expect(field).to_have_value("{")
        field.fill('{"amount": 5}')
        plain.get_by_role("button", name="Allow").click()

        expect(plain.locator("summary")).to_have_text("Tool call: pay · Done")
        assert told(provider)[0].endswith("paid 5 to the shop")

    def test_several_one_after_the_other(self, plain, provider):
        self.begin(plain, provider, PAY, NOTE)
        plain.locator(".scp-answer").first.get_by_role("button", name="Allow").click()
        expect(plain.locator(".scp-answer")).to_have_count(1)
        expect(plain.locator("summary")).to_have_text(
            ["Tool call: pay · Allowed", "Tool call: post_note · Waiting for you"]
        )
        plain.get_by_role("button", name="Deny").click()

        expect(plain.locator("summary")).to_have_text(["Tool call: pay · Done", "Tool call: post_note · Denied"])

    def test_what_axe_finds(self, chat, provider):
        ask(chat, provider, PAY, NOTE)
        chat.page.goto(f"/chat/c/{chat.conversation_id}?view=plain")
        expect(chat.page.locator(".scp-answer")).to_have_count(2)
        expect_accessible(chat.page)
