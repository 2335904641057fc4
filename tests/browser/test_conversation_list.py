"""The list of conversations: the marks of a reply that is being written, and of one that nobody has seen."""

import re
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from streaming_chat.models import Conversation, Feedback, Message
from tests.factories import make_conversation, make_message, make_reply
from tests.provider_server import Gate, Script
from tests.search.factories import add

from .chat import ChatPage
from .conftest import sign_in, watched

WRITING = "A reply is being written"
UNREAD = "Unread"


def held(text: str = "Hello there") -> tuple[Script, Gate]:
    """Return a reply that stands before its last delta, and its gate."""
    gate = Gate()
    return Script([text, "!"], gates={1: gate}), gate


class ListedChat(ChatPage):
    """A tab with the chat, and the marks in its list."""

    def row(self, title: str):
        return self.page.locator("[data-part=conversations] li", has=self.page.locator("a", has_text=title))

    def expect_mark(self, title: str, mark: str) -> None:
        expect(self.row(title).locator("[data-part=mark]")).to_have_accessible_name(mark)

    def expect_no_mark(self, title: str) -> None:
        expect(self.row(title)).to_have_count(1)
        expect(self.row(title).locator("[data-part=mark]")).to_be_hidden()

    def begin_and_leave(self, text: str = "What is rain?") -> None:
        """Send a message, and turn to a new chat while the reply is being written."""
        self.say(text)
        expect(self.reply()).to_have_text("Hello there")
        self.page.locator("[data-part=new]").click()
        self.expect_mark(text, WRITING)


@pytest.fixture
def chat(page: Page) -> ListedChat:
    return ListedChat(page).open()


class TestMarks:
    def test_the_dot_goes_out_where_the_conversation_was_left(self, chat, provider):
        script, gate = held()
        provider.script(script)
        chat.begin_and_leave()
        gate.open()

        chat.expect_mark("What is rain?", UNREAD)
        expect(chat.page).to_have_title("(1) New chat")

    def test_another_tab_and_another_browser_see_the_ending(self, chat, provider, chromium, site, user):
        script, gate = held()
        provider.script(script)
        chat.say("What is rain?")
        expect(chat.reply()).to_have_text("Hello there")
        tab = ListedChat(chat.page.context.new_page()).open()
        with watched(chromium, base_url=site) as other:
            sign_in(other, site, user)
            elsewhere = ListedChat(other.new_page()).open()
            for each in (tab, elsewhere):
                each.expect_mark("What is rain?", WRITING)
            gate.open()
            chat.expect_end()

            # This tab has shown the ending, so no other tab of this browser has something new.
            tab.expect_no_mark("What is rain?")
            expect(tab.page).to_have_title("Chat")
            elsewhere.expect_mark("What is rain?", UNREAD)
            expect(elsewhere.page).to_have_title("(1) Chat")

    def test_an_unread_mark_stays_until_the_conversation_is_opened(self, chat, provider):
        script, gate = held()
        provider.script(script)
        chat.begin_and_leave()
        tab = ListedChat(chat.page.context.new_page()).open()
        gate.open()
        for each in (chat, tab):
            each.expect_mark("What is rain?", UNREAD)
        chat.reload()
        chat.expect_mark("What is rain?", UNREAD)
        expect(chat.page).to_have_title("(1) Chat")
        chat.row("What is rain?").locator("a").click()

        for each in (chat, tab):
            each.expect_no_mark("What is rain?")
        expect(chat.page).to_have_title("What is rain?")
        expect(tab.page).to_have_title("Chat")

    def test_a_reply_in_view_is_read(self, chat, provider):
        chat.say("What is rain?")
        chat.expect_end()
        chat.expect_no_mark("What is rain?")
        chat.page.locator("[data-part=new]").click()

        chat.expect_no_mark("What is rain?")
        expect(chat.page).to_have_title("New chat")

    def test_nothing_is_asked_while_nothing_is_live(self, page, provider):
        """Nor while the only live reply is the one in view, whose stream says when it ends."""
        page.clock.install()
        chat = ListedChat(page).open()
        asked = []
        page.on("request", lambda request: asked.append(request.url) if "/api/" in request.url else None)
        page.clock.run_for(120_000)
        script, gate = held()
        provider.script(script)

        assert asked == []
        chat.say("What is rain?")
        expect(chat.reply()).to_have_text("Hello there")
        chat.expect_mark("What is rain?", WRITING)
        page.clock.run_for(10_000)
        assert not [url for url in asked if "status=streaming" in url]
        gate.open()
        chat.expect_end()
        chat.expect_no_mark("What is rain?")
        page.clock.run_for(120_000)
        assert not [url for url in asked if "status=streaming" in url]

    def test_the_list_is_asked_for_again_when_the_page_is_in_front(self, chat, user):
        make_reply(make_conversation(user, title="From a phone"))
        chat.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

        expect(chat.row("From a phone")).to_have_count(1)


class TestRows:
    @pytest.fixture
    def rows(self, page, user, site):
        for title, days in (("Rain", 0), ("Snow", 1), ("Hail", 4), ("Fog", 20), ("مطر", 400)):
            conversation = make_conversation(user, title=title)
            make_reply(conversation)
            moment = timezone.now() - timedelta(days=days)
            Conversation.objects.filter(pk=conversation.pk).update(last_activity=moment)
        return ListedChat(page).open()

    def test_they_are_grouped_by_day(self, rows):
        headings = ["Today", "Yesterday", "Previous 7 days", "Previous 30 days"]
        month = (timezone.now() - timedelta(days=400)).strftime("%B %Y")

        expect(rows.page.locator(".sc-day")).to_have_text([*headings, month])
        expect(rows.page.get_by_role("list", name="Yesterday").locator(".sc-name")).to_have_text(["Snow"])

    def test_all_titles_begin_at_the_same_side(self, rows):
        sides = rows.page.locator(".sc-name").evaluate_all(
            "(all) => all.map((name) => getComputedStyle(name).textAlign)"
        )

        assert set(sides) == {"left"}

    def test_a_row_has_a_menu(self, rows):
        page = rows.page
        button = rows.row("Hail").get_by_role("button", name="Actions for Hail")
        rows.press(button)
        expect(page.get_by_role("menuitem", name="Rename")).to_be_focused()
        # All the way round, back to the first one.
        for _item in range(page.get_by_role("menuitem").count()):
            page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        page.get_by_role("textbox", name="Title").fill("Hailstones")
        page.keyboard.press("Enter")

        expect(rows.row("Hailstones")).to_have_count(1)
        assert Conversation.objects.filter(title="Hailstones").exists()

    def test_escape_closes_the_menu_and_nothing_else(self, rows):
        button = rows.row("Hail").get_by_role("button", name="Actions for Hail")
        button.click()
        rows.page.keyboard.press("Escape")

        expect(rows.page.get_by_role("menu")).to_be_hidden()
        expect(button).to_be_focused()

    def test_a_conversation_that_is_not_in_view_is_deleted(self, rows):
        rows.row("Snow").locator("a").click()
        expect(rows.replies).to_have_count(1)
        rows.row("Hail").hover()
        rows.row("Hail").get_by_role("button").click()
        rows.page.get_by_role("menuitem", name="Delete").click()

        expect(rows.row("Hail")).to_have_count(0)
        expect(rows.page.get_by_role("heading", level=1)).to_have_text("Snow")
        rows.button("Undo").click()
        expect(rows.row("Hail")).to_have_count(1)


HIGHLIGHTED = "() => [...CSS.highlights.get('sc-found') ?? []].map((range) => range.toString())"


class TestSearch:
    @pytest.fixture
    def birds(self, user, site):
        """Return a conversation in which an early reply, a long way up, has the word."""
        conversation = make_conversation(user, title="Birds")
        add(make_reply(conversation, "The **crane** dances. A hurricane does not."))
        for _turn in range(40):
            make_reply(conversation, "Indeed.\n\n" * 5)
        make_reply(make_conversation(user, title="Cranes of Lisbon"))
        return conversation

    def test_it_shows_the_words_and_opens_at_them(self, page, birds):
        chat = ListedChat(page).open()
        page.get_by_label("Search conversations").fill("crane danc")
        row = chat.row("Birds")
        expect(row.locator("mark")).to_have_text(["crane", "dances"])
        expect(chat.row("Lisbon")).to_have_count(0)
        row.locator("a").click()

        found = page.locator(".sc-reply", has_text="The crane dances")
        expect(found).to_be_in_viewport()
        page.wait_for_function(f"({HIGHLIGHTED})().length === 2")
        assert page.evaluate(HIGHLIGHTED) == ["crane", "dances"]
        chat.row("Birds").locator("a").click()
        page.locator("[data-part=new]").click()
        page.wait_for_function("() => !CSS.highlights.has('sc-found')")

    def test_a_title_shows_its_words(self, page, birds):
        addresses: list[str] = []
        page.on("request", lambda request: addresses.extend([request.url, request.headers.get("referer", "")]))
        chat = ListedChat(page).open()
        page.get_by_label("Search conversations").fill("lisbon")

        expect(chat.row("Cranes of Lisbon").locator("mark")).to_have_text("Lisbon")
        assert any(address.endswith("api/conversations/search") for address in addresses)
        assert not [address for address in [*addresses, page.url] if "lisbon" in address.lower()]

    def test_words_on_another_branch_are_shown_there(self, page, user, site):
        conversation = make_conversation(user, title="Birds")
        question = make_message(conversation, "Which bird?")
        first = add(make_reply(conversation, "A crane.", parent=question))
        add(make_reply(conversation, "A heron.", parent=question))
        chat = ListedChat(page).open()
        page.get_by_label("Search conversations").fill("crane")
        expect(chat.row("Birds").locator("mark")).to_have_text("crane")
        chat.row("Birds").locator("a").click()

        expect(chat.reply()).to_have_text("A crane.")
        conversation.refresh_from_db()
        assert conversation.head == first

    def test_the_address_of_a_message_opens_there(self, page, birds):
        message = Message.objects.get(text__startswith="The **crane**")
        ListedChat(page).open(f"c/{birds.pk}#m-{message.pk}")

        expect(page.locator(".sc-reply", has_text="The crane dances")).to_be_in_viewport()


class TestShortcuts:
    def test_a_question_mark_lists_them(self, chat):
        dialog = chat.page.get_by_role("dialog", name="Keyboard shortcuts")
        chat.text.press("?")
        expect(chat.text).to_have_value("?")
        expect(dialog).to_be_hidden()
        chat.page.locator("[data-part=scroll]").focus()
        chat.page.keyboard.press("?")
        expect(dialog).to_contain_text("Start a new line")
        chat.page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        chat.button("Keyboard shortcuts").click()
        expect(dialog).to_be_visible()


class TestStatusLine:
    def test_what_goes_on_does_not_fade(self, chat, provider):
        script, gate = held()
        provider.script(script)
        chat.say("Hi")
        expect(chat.reply()).not_to_have_text("")

        assert chat.status.text_content() == "Writing…"
        assert chat.status.evaluate("(status) => status.getAnimations().length") == 0
        gate.open()
        chat.expect_end()

    def test_it_fades(self, chat, provider):
        chat.say("Hi")
        chat.expect_end()
        expect(chat.status).to_have_text("Reply finished")
        chat.status.evaluate("(status) => status.getAnimations().forEach((animation) => animation.finish())")

        expect(chat.status).to_have_text("")


class TestComments:
    def test_one_is_acknowledged_and_edited(self, page, user, site):
        conversation = make_conversation(user)
        make_reply(conversation)
        chat = ListedChat(page).open(f"c/{conversation.pk}")
        field = page.get_by_label("What was good or bad? (optional)")
        chat.button("Bad reply").click()
        field.fill("Too short")
        chat.button("Send comment").click()
        expect(page.get_by_text("Thank you. Your comment: Too short")).to_be_visible()
        chat.reload()
        chat.button("Edit comment").click()
        expect(field).to_have_value("Too short")
        field.fill("Far too short")
        chat.button("Send comment").click()
        expect(page.get_by_text("Thank you. Your comment: Far too short")).to_be_visible()
        expect(chat.button("Edit comment")).to_be_visible()

        assert Feedback.objects.values_list("value", "comment").get() == (-1, "Far too short")


class TestCorner:
    def test_its_frame_has_its_label_and_leads_to_the_full_page(self, page, user, site, provider):
        page.goto("/embedded/corner/")
        page.get_by_role("button", name="Chat", exact=True).click()
        expect(page.locator(".sc-label")).to_have_text("Chat")
        chat = ListedChat(page)
        chat.say("Hi")
        chat.expect_end()
        chat.text.fill("And then")
        page.get_by_role("link", name="Open full page").click()

        expect(page).to_have_url(re.compile("/chat/c/"))
        expect(chat.reply()).to_have_text("Hello, wörld!")
        expect(chat.text).to_have_value("And then")

    def test_whoever_is_signed_out_is_led_to_the_login(self, chromium, site):
        with watched(chromium, base_url=site) as context:
            page = context.new_page()
            page.goto("/embedded/corner/")
            launcher = page.get_by_role("link", name="Chat", exact=True)
            expect(launcher).to_have_css("position", "fixed")
            launcher.click()

            expect(page).to_have_url(re.compile(r"/accounts/login/\?next=/embedded/corner/"))


class TestPageContext:
    """The widget's page sends what it tells about itself."""

    ADDRESS = "/embedded/corner/?product=17"

    def open(self, page):
        page.goto(self.ADDRESS)
        page.get_by_role("button", name="Chat", exact=True).click()
        return ListedChat(page)

    def test_it_is_kept_with_each_message(self, page, user, site, provider):
        chat = self.open(page)
        chat.say("Is it bright?")
        chat.expect_end()

        assert Message.objects.get(role="user").page_context == {"metadata": {"product": "17"}}

    def test_a_page_that_was_changed_loses_no_text(self, page, user, site, provider):
        def change(route):
            answer = route.fetch()
            route.fulfill(response=answer, body=answer.text().replace('data-context="', 'data-context="x'))

        page.route("**/embedded/corner/**", change)
        chat = self.open(page)
        chat.say("Is it bright?")

        expect(chat.error).to_contain_text("Reload it, then send your message again.")
        expect(chat.text).to_have_value("Is it bright?")
        page.unroute("**/embedded/corner/**")
        page.reload()
        expect(chat.text).to_have_value("Is it bright?")
        chat.text.press("Enter")
        chat.expect_end()
        assert Message.objects.filter(role="user").count() == 1
