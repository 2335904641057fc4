"""The chat page in Chromium, against a real server and a provider that tests hold in the middle of a reply."""

import re

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from streaming_chat.chats.branches import branch
from streaming_chat.chats.deletion import delete_for_owner
from streaming_chat.models import Conversation, Message
from tests.factories import make_conversation, make_message, make_reply, make_user
from tests.provider_server import Gate, Script

from .chat import UUID, ChatPage
from .conftest import sign_in, watched
from .line import Line

PHONE = {"width": 360, "height": 740}


@pytest.fixture
def chat(page: Page) -> ChatPage:
    return ChatPage(page).open()


def held(*deltas: str, before: int) -> tuple[Script, Gate]:
    """Return a reply that stands before this delta, and its gate."""
    gate = Gate()
    return Script(deltas, gates={before: gate}), gate


class TestSending:
    def test_a_reply_grows_and_ends_as_it_is_saved(self, chat, provider):
        first, second = Gate(), Gate()
        script = Script(["Grüße", " aus\n", "Łódź 🎈", " & <b>more</b>"], gates={1: first, 3: second})
        provider.script(script)
        asked = []
        chat.page.on("request", lambda request: asked.append((request.method, request.url)))
        chat.say("Hi")

        expect(chat.reply()).to_have_text("Grüße")
        expect(chat.status).to_have_text("Writing…")
        first.open()
        expect(chat.reply()).to_have_text("Grüße aus\nŁódź 🎈", use_inner_text=True)
        second.open()
        chat.expect_end()
        expect(chat.status).to_have_text("Reply finished")
        expect(chat.reply()).to_have_text(script.text, use_inner_text=True)
        assert Message.objects.get(role="assistant").text == script.text
        # The page asks for the saved text when the stream's was of another length.
        assert not [url for method, url in asked if method == "GET" and "/api/messages/" in url]

    def test_a_new_chat_becomes_a_conversation(self, chat, provider):
        chat.say("What is\nrain?")
        chat.expect_end()

        expect(chat.page).to_have_url(re.compile(f"/chat/c/{UUID}$"))
        expect(chat.page.get_by_role("heading", level=1)).to_have_text("What is rain?")
        expect(chat.page.locator(".sc-conversation[aria-current=page]")).to_contain_text("What is rain?")
        chat.say("Go on")
        expect(chat.replies).to_have_count(2)
        chat.expect_end()
        assert Conversation.objects.get().message_count == 4

    def test_the_chosen_model_is_asked(self, chat, provider):
        chat.choose_model("Large")
        chat.say("Hi")
        chat.expect_end()
        chat.reload()

        assert provider.calls[0].body["model"] == "large"
        expect(chat.model).to_have_accessible_name("Model Large")

    def test_markup_of_a_model_is_text(self, chat, provider):
        provider.script(Script(["<img src=x onerror=alert(1)>"]))
        chat.say("<script>alert(1)</script>")
        chat.expect_end()

        expect(chat.reply()).to_have_text("<img src=x onerror=alert(1)>")
        expect(chat.users).to_have_text("<script>alert(1)</script>")

    def test_two_tabs_follow_one_reply(self, chat, provider, context):
        script, gate = held("One", " reply", before=1)
        provider.script(script)
        chat.say("Hi")
        expect(chat.reply()).to_have_text("One")
        other = ChatPage(context.new_page()).open(f"c/{chat.conversation_id}")

        expect(other.reply()).to_have_text("One")
        gate.open()
        for tab in (chat, other):
            tab.expect_end()
            expect(tab.reply()).to_have_text("One reply")
        assert len(provider.calls) == 1

    def test_a_tab_that_is_open_sees_what_another_one_sends(self, chat, provider, context):
        chat.say("Hi")
        chat.expect_end()
        other = ChatPage(context.new_page()).open(f"c/{chat.conversation_id}")
        expect(other.replies).to_have_count(1)
        other.say("And now?")

        expect(chat.users).to_have_text(["Hi", "And now?"])
        chat.expect_end()


class TestStopping:
    def test_what_was_shown_stays(self, chat, provider):
        script, gate = held("Shown", ", not shown", before=1)
        provider.script(script)
        chat.say("Hi")
        expect(chat.reply()).to_have_text("Shown")
        chat.stop.click()
        chat.expect_end("stopped")

        expect(chat.status).to_have_text("Stopped")
        expect(chat.reply()).to_have_text("Shown")
        chat.reload()
        expect(chat.reply()).to_have_text("Shown")
        expect(chat.replies.last).to_contain_text("Stopped")
        gate.open()
        assert Message.objects.get(role="assistant").text == "Shown"

    def test_what_came_after_the_stop_is_not_shown(self, chat, provider):
        """The server has received more than the reader saw when it hears of the stop."""
        script, gate = held("Shown", ", late", ", end", before=1)
        last = script.gates[2] = Gate()
        provider.script(script)
        chat.say("Hi")
        expect(chat.reply()).to_have_text("Shown")

        def late(route):
            gate.open()
            last.wait_reached()
            route.continue_()

        chat.page.route("**/stop", late)
        chat.page.keyboard.press("Escape")
        chat.expect_end("stopped")
        last.open()

        expect(chat.reply()).to_have_text("Shown")
        assert Message.objects.get(role="assistant").text == "Shown"

    def test_a_stop_elsewhere_takes_back_what_is_past_it(self, chat, provider):
        """Whoever has seen more than the one who stopped ends with the same text: the stream says reset."""
        script, gate = held("Shown", " there", " and here", before=2)
        provider.script(script)
        chat.say("Hi")
        expect(chat.reply()).to_have_text("Shown there")
        message = Message.objects.get(role="assistant")
        token = chat.page.locator(".sc-composer [name=csrfmiddlewaretoken]").input_value()
        position = 1 + len("Shown")
        stopped = chat.page.request.post(
            f"/chat/api/messages/{message.pk}/stop", data={"position": position}, headers={"X-CSRFToken": token}
        )
        assert stopped.status == 200

        chat.expect_end("stopped")
        expect(chat.reply()).to_have_text("Shown")
        gate.open()

    def test_a_new_message_follows_a_stopped_reply(self, chat, provider):
        script, gate = held("Half", " whole", before=1)
        provider.script(script, Script(["Next"]))
        chat.say("Hi")
        expect(chat.reply()).to_have_text("Half")
        chat.stop.click()
        chat.expect_end("stopped")
        chat.say("Again")
        chat.expect_end()
        gate.open()

        expect(chat.reply()).to_have_text("Next")
        turns = [(turn["role"], turn["content"]) for turn in provider.calls[1].body["messages"]]
        assert turns == [("user", "Hi"), ("assistant", "Half"), ("user", "Again")]


class TestReturning:
    def test_a_cut_connection_goes_on_where_it_was(self, chromium, site, user, provider):
        """The line between reader and server breaks twice; the reply goes on without loss or repetition."""
        first, second, third = Gate(), Gate(), Gate()
        script = Script(["One", " two", " three", " four"], gates={1: first, 2: second, 3: third})
        provider.script(script)
        with Line(site) as line, watched(chromium, base_url=line.url) as context:
            sign_in(context, line.url, user)
            chat = ChatPage(context.new_page()).open()
            chat.say("Hi")
            for number, gate in [(1, first), (2, second)]:
                expect(chat.reply()).to_have_text("".join(script.deltas[:number]))
                line.cut()
                expect(chat.status).to_have_text("Connection lost. Reconnecting…")
                gate.open()
            expect(chat.reply()).to_have_text("One two three")
            expect(chat.status).to_have_text("Writing…")
            third.open()
            chat.expect_end()

            assert chat.reply().text_content() == script.text
            assert line.asked("GET", "/events") == 2

    def test_a_reload_in_mid_reply_goes_on_to_the_whole(self, chat, provider):
        script, gate = held("Before", " and after", before=1)
        provider.script(script)
        chat.say("Hi")
        expect(chat.reply()).to_have_text("Before")
        chat.reload()
        expect(chat.reply()).to_have_text("Before")
        expect(chat.stop).to_be_visible()
        gate.open()
        chat.expect_end()

        expect(chat.reply()).to_have_text("Before and after")
        assert len(provider.calls) == 1

    def test_a_reload_does_not_lose_what_was_typed(self, chat):
        chat.text.fill("Not yet sent")
        chat.reload()

        expect(chat.text).to_have_value("Not yet sent")

    def test_a_long_reply_is_shown_as_it_was_written_without_its_renderer(self, page, user, site):
        """Until the renderer is loaded, only the beginning of the source is laid out: the rendered text replaces it."""
        conversation = make_conversation(user)
        make_reply(conversation, "word " * 10_000 + "*end*")
        held: list[Route] = []
        page.route("**/markdown.js", lambda route: held.append(route))  # noqa: PLW0108  (it cannot bind built-ins)
        chat = ChatPage(page).open(f"c/{conversation.pk}")
        expect(chat.reply()).to_contain_text("word word")
        expect(chat.reply()).not_to_contain_text("*end*")
        for route in held:
            route.abort()

        expect(chat.reply()).to_contain_text("*end*")

    def test_an_ended_conversation_is_shown_as_it_is(self, page, user, site):
        conversation = make_conversation(user, title="Rain")
        make_reply(conversation, "First\n\n- second")
        chat = ChatPage(page).open(f"c/{conversation.pk}")

        expect(chat.users).to_have_text("Will it rain?")
        expect(chat.reply().get_by_role("paragraph")).to_have_text("First")
        expect(chat.reply().get_by_role("listitem")).to_have_text("second")
        expect(page.get_by_role("heading", level=1)).to_have_text("Rain")

    def test_older_conversations_are_asked_for(self, page, user, site):
        for number in range(60):
            make_conversation(user, title=f"Number {number}")
        chat = ChatPage(page).open()
        links = page.locator(".sc-conversation")
        expect(links.first).to_contain_text("Number 59")
        shown = links.count()
        chat.button("Show older").click()
        expect(links).not_to_have_count(shown)
        while chat.button("Show older").is_visible():
            shown = links.count()
            chat.button("Show older").click()
            expect(links).not_to_have_count(shown)

        titles = page.locator(".sc-name").all_text_contents()
        assert titles == [f"Number {number}" for number in reversed(range(60))]

    def test_going_back_shows_what_was_there(self, chat, provider):
        chat.say("Hi")
        chat.expect_end()
        chat.page.go_back()

        expect(chat.page).to_have_url(re.compile("/chat/$"))
        expect(chat.users).to_have_count(0)


class TestRegenerating:
    def test_a_second_reply_stands_beside_the_first(self, chat, provider):
        provider.script(Script(["One"]), Script(["Two"]))
        chat.say("Hi")
        chat.expect_end()
        chat.button("Regenerate").click()
        expect(chat.reply()).to_have_text("Two")
        chat.expect_end()

        expect(chat.replies).to_have_count(1)
        expect(chat.replies.last).to_contain_text("2 of 2")
        assert [message.text for message in Message.objects.filter(role="assistant")] == ["One", "Two"]
        chat.button("Previous reply").click()
        expect(chat.reply()).to_have_text("One")
        chat.reload()
        expect(chat.reply()).to_have_text("One")


class TestErrors:
    def test_a_reply_that_failed_is_tried_again(self, chat, provider):
        provider.script(Script(status=401), Script(["Better"]))
        chat.say("Hi")
        chat.expect_end("failed")

        expect(chat.replies.last).to_contain_text("The model provider rejected this site's credentials.")
        expect(chat.users).to_have_text("Hi")
        chat.button("Try again").click()
        expect(chat.reply()).to_have_text("Better")
        chat.expect_end()

    def test_a_reply_that_broke_keeps_what_came(self, chat, provider):
        provider.script(Script(["Half", " whole"], fault="cut", after=1))
        chat.say("Hi")
        chat.expect_end("interrupted")

        expect(chat.reply()).to_have_text("Half")
        expect(chat.replies.last).to_contain_text("The connection to the model was lost before the reply was complete.")
        chat.reload()
        expect(chat.reply()).to_have_text("Half")
        expect(chat.button("Continue")).to_be_visible()

    def test_a_refused_message_is_in_the_composer_again(self, chat, provider):
        chat.say("x" * 32_001)

        expect(chat.error).to_contain_text("it has 32001 characters, and the limit is 32000")
        expect(chat.text).to_have_value("x" * 32_001)
        expect(chat.button("Try again")).to_be_hidden()
        expect(chat.users).to_have_count(0)
        chat.text.fill("Shorter")
        chat.send_button.click()
        chat.expect_end()
        expect(chat.error).to_be_hidden()

    def test_a_message_to_a_conversation_that_is_answering_waits(self, chat, provider, context):
        """A tab that has not heard of the reply attaches to it, and keeps its own text."""
        chat.say("Hi")
        chat.expect_end()
        other = ChatPage(context.new_page()).open(f"c/{chat.conversation_id}")
        script, gate = held("Busy", " done", before=1)
        provider.script(script)
        # Tabs tell each other of sends; this one is deaf, as on another machine.
        other.page.evaluate("BroadcastChannel.prototype.postMessage = () => {}")
        other.say("First")
        expect(other.reply()).to_have_text("Busy")
        chat.say("Second")

        expect(chat.error).to_contain_text("A reply is still being written")
        expect(chat.text).to_have_value("Second")
        expect(chat.reply()).to_have_text("Busy")
        gate.open()
        chat.expect_end()
        expect(chat.reply()).to_have_text("Busy done")

    def test_a_send_without_an_answer_is_repeated_once_and_heard_once(self, chat, provider):
        """The server took the message, its answer was lost: the second send finds the first by its client_id."""
        lost = []

        def lose(route):
            if lost:
                return route.continue_()
            lost.append(route.fetch())
            return route.abort()

        chat.page.route("**/api/messages", lose)
        chat.say("Hi")
        chat.expect_end()

        assert len(lost) == 1
        assert len(provider.calls) == 1
        assert Message.objects.count() == 2

    def test_an_edit_that_was_refused_is_in_its_form_again(self, chat, provider):
        chat.say("Hi")
        chat.expect_end()
        chat.text.fill("Meanwhile")
        chat.button("Edit message").click()
        form = chat.page.locator(".sc-edit")
        form.get_by_role("textbox").fill("x" * 32_001)
        form.get_by_role("button", name="Send").click()

        expect(chat.error).to_contain_text("it has 32001 characters")
        expect(form.get_by_role("textbox")).to_have_value("x" * 32_001)
        expect(chat.replies).to_have_count(1)
        expect(chat.text).to_have_value("Meanwhile")
        form.get_by_role("textbox").fill("Ho")
        form.get_by_role("button", name="Send").click()
        chat.expect_end()
        expect(chat.users).to_have_text("Ho")

    def test_a_draining_server_is_asked_again(self, chat, provider):
        body = {"error": {"code": "draining", "message": "The server is restarting.", "retryable": True}}
        answers = iter([True])
        chat.page.route(
            "**/api/messages",
            lambda route: (
                route.fulfill(status=503, json=body, headers={"Retry-After": "1"})
                if next(answers, False)
                else route.continue_()
            ),
        )
        chat.say("Hi")

        expect(chat.status).to_have_text("The server is restarting.")
        chat.expect_end()

    def test_too_many_replies_leave_the_text_and_a_button(self, chat, provider):
        body = {"error": {"code": "too_many_replies", "message": "Too many replies.", "retryable": True}}
        headers = {"Retry-After": "1"}
        chat.page.route("**/api/messages", lambda route: route.fulfill(status=429, json=body, headers=headers))
        chat.say("Hi")

        expect(chat.error).to_contain_text("Too many replies.")
        expect(chat.text).to_have_value("Hi")
        chat.page.unroute("**/api/messages")
        expect(chat.button("Try again")).to_be_enabled()
        chat.button("Try again").click()
        chat.expect_end()

    def test_whoever_was_signed_out_is_led_to_the_login(self, chat, context):
        context.clear_cookies()
        chat.say("Hi")

        expect(chat.error.get_by_role("link")).to_have_attribute("href", re.compile("/accounts/login/"))
        expect(chat.text).to_have_value("Hi")


class TestBranches:
    def test_a_message_follows_what_is_in_view_also_where_another_device_went_elsewhere(self, chat, provider, context):
        provider.script(Script(["One"]), Script(["Two"]), Script(["Three"]))
        chat.say("Hi")
        chat.expect_end()
        other = ChatPage(context.new_page()).open(f"c/{chat.conversation_id}")
        other.page.evaluate("BroadcastChannel.prototype.postMessage = () => {}")
        other.button("Regenerate").click()
        expect(other.reply()).to_have_text("Two")
        other.expect_end()
        chat.say("And?")
        expect(chat.reply()).to_have_text("Three")
        chat.expect_end()

        path = branch(Conversation.objects.get(), Message.objects.get(text="Three").pk)
        assert [message.text for message in path] == ["Hi", "One", "And?", "Three"]
        sent = provider.calls[-1].body["messages"]
        assert [message["content"] for message in sent][-3:] == ["Hi", "One", "And?"]
        chat.reload()
        expect(chat.reply()).to_have_text("Three")


class TestManaging:
    def test_escape_in_the_search_empties_it_and_stops_nothing(self, chat, provider):
        chat.say("Hi")
        chat.expect_end()
        script, gate = held("Half", " whole", before=1)
        provider.script(script)
        chat.say("And?")
        expect(chat.reply()).to_have_text("Half")
        search = chat.page.get_by_label("Search conversations")
        search.fill("Snow")
        search.press("Escape")

        expect(search).to_have_value("")
        gate.open()
        chat.expect_end()
        expect(chat.reply()).to_have_text("Half whole")

    def test_older_ones_that_were_asked_for_stay_in_the_list(self, chat, user, provider):
        for number in range(40):
            make_conversation(user, title=f"Number {number}")
        chat.reload()
        chat.button("Show older").click()
        conversations = chat.page.locator(".sc-conversation")
        expect(conversations).to_have_count(40)
        chat.say("Hi")
        chat.expect_end()

        expect(conversations.first).to_contain_text("Hi")
        expect(conversations).to_have_count(40)
        chat.button("Show older").click()
        expect(conversations).to_have_count(41)

    def test_a_conversation_is_renamed(self, chat, provider):
        chat.say("Hi")
        chat.expect_end()
        chat.button("Rename").click()
        chat.page.get_by_role("textbox", name="Title").fill("Greetings")
        chat.page.keyboard.press("Enter")

        expect(chat.page.get_by_role("heading", level=1)).to_have_text("Greetings")
        expect(chat.page.locator(".sc-name")).to_have_text("Greetings")

    def test_a_deletion_is_undone(self, chat, provider):
        chat.say("Hi")
        chat.expect_end()
        address = chat.page.url
        chat.button("Delete").click()
        expect(chat.page).to_have_url(re.compile("/chat/$"))
        expect(chat.page.locator(".sc-conversation")).to_have_count(0)
        expect(chat.button("Undo")).to_be_focused()
        chat.button("Undo").click()

        expect(chat.page).to_have_url(address)
        expect(chat.users).to_have_text("Hi")
        expect(chat.page.locator(".sc-conversation")).to_have_count(1)

    def test_a_deletion_in_another_tab_leads_to_a_new_chat(self, chat, provider, context):
        chat.say("Hi")
        chat.expect_end()
        other = ChatPage(context.new_page()).open(f"c/{chat.conversation_id}")
        expect(other.replies).to_have_count(1)
        other.text.fill("And?")
        chat.button("Delete").click()

        expect(other.error).to_contain_text("This conversation no longer exists.")
        expect(other.page).to_have_url(re.compile("/chat/$"))
        expect(other.text).to_have_value("And?")
        expect(other.button("Try again")).to_be_hidden()
        expect(other.page.locator(".sc-conversation")).to_have_count(0)
        chat.button("Undo").click()
        expect(other.page.locator(".sc-conversation")).to_have_count(1)

    def test_a_message_to_a_conversation_that_was_deleted_keeps_its_text(self, chat, provider, user):
        chat.say("Hi")
        chat.expect_end()
        delete_for_owner(Conversation.objects.get().pk)
        chat.say("And?")

        expect(chat.error).to_contain_text("This conversation no longer exists.")
        expect(chat.text).to_have_value("And?")
        expect(chat.users).to_have_count(0)
        chat.text.press("Enter")
        chat.expect_end()
        expect(chat.users).to_have_text("And?")


class TestUsing:
    def test_the_keyboard_is_enough(self, chat, provider):
        keyboard = chat.page.keyboard
        script, gate = held("Half", " whole", before=1)
        provider.script(script, Script(["Whole"]))
        expect(chat.text).to_be_focused()
        keyboard.type("Two")
        keyboard.press("Shift+Enter")
        keyboard.type("lines")
        keyboard.press("Enter")
        expect(chat.users).to_have_text("Two\nlines", use_inner_text=True)
        expect(chat.reply()).to_have_text("Half")
        keyboard.press("Escape")
        chat.expect_end("stopped")
        gate.open()
        expect(chat.text).to_be_focused()
        for _press in range(20):
            keyboard.press("Shift+Tab")
            if chat.button("Regenerate").evaluate("(button) => button === document.activeElement"):
                break
        keyboard.press("Enter")
        chat.expect_end()

        expect(chat.reply()).to_have_text("Whole")

    def test_an_enter_that_ends_a_composition_does_not_send(self, chat, provider):
        chat.text.fill("にほん")
        chat.text.dispatch_event("keydown", {"key": "Enter", "isComposing": True, "bubbles": True})
        chat.text.dispatch_event("keydown", {"key": "Enter", "keyCode": 229, "bubbles": True})

        expect(chat.text).to_have_value("にほん")
        expect(chat.users).to_have_count(0)
        assert provider.calls == []

    def test_the_status_line_does_not_announce_every_word(self, chat, provider):
        chat.page.evaluate(
            """() => {
                window.said = [];
                const status = document.querySelector("[role=status]");
                new MutationObserver(() => said.push(status.textContent)).observe(status, { childList: true });
            }"""
        )
        provider.script(Script(["word "] * 50))
        chat.say("Hi")
        expect(chat.status).to_have_text("Reply finished")

        said = chat.page.evaluate("said")
        assert list(dict.fromkeys(said)) == ["Writing…", "Reply finished"]
        # What acknowledges a comment announces itself alone.
        assert chat.page.locator("[aria-live]:not(.sc-comment-saved), [role=log]").count() == 0

    def test_scrolling_follows_until_the_reader_leaves_the_end(self, chat, provider):
        first, second = Gate(), Gate()
        provider.script(Script(["line\n" * 80, "more\n" * 40, "end\n" * 40], gates={1: first, 2: second}))
        area = chat.page.get_by_role("region", name="Messages")
        distance = "(area) => area.scrollHeight - area.scrollTop - area.clientHeight"
        chat.say("Hi")
        expect(chat.reply()).to_contain_text("line")
        chat.page.wait_for_function(f"() => ({distance})(document.querySelector('.sc-scroll')) < 2")
        area.hover()
        chat.page.mouse.wheel(0, -600)
        expect(chat.button("Jump to latest")).to_be_visible()
        top = area.evaluate("(area) => area.scrollTop")
        first.open()
        expect(chat.reply()).to_contain_text("more")
        assert area.evaluate("(area) => area.scrollTop") == top
        chat.button("Jump to latest").click()
        second.open()
        chat.expect_end()

        chat.page.wait_for_function(f"() => ({distance})(document.querySelector('.sc-scroll')) < 2")

    @pytest.mark.parametrize("locale", ["en", "ar"])
    def test_a_phone_needs_no_sideways_scrolling(self, chromium, site, user, provider, locale):
        conversation = make_conversation(user, title="A long title that goes on " * 4)
        make_message(conversation, "x" * 300)
        make_reply(conversation, "y" * 300, parent=conversation.head)
        with watched(chromium, base_url=site, viewport=PHONE, has_touch=True, locale=locale) as context:
            sign_in(context, site, user)
            page = context.new_page()
            ChatPage(page).open(f"c/{conversation.pk}")
            expect(page.locator(".sc-reply")).to_be_visible()
            self._expect_no_sideways_scrolling(page)
            page.locator("[data-part=menu]").click()
            expect(page.locator(".sc-new")).to_be_visible()
            self._expect_no_sideways_scrolling(page)
            page.keyboard.press("Escape")
            expect(page.locator(".sc-new")).to_be_hidden()

    def _expect_no_sideways_scrolling(self, page: Page) -> None:
        areas = "[document.documentElement, ...document.querySelectorAll('.sc-scroll, .sc-side')]"
        assert page.evaluate(f"{areas}.every((area) => area.scrollWidth <= area.clientWidth)")


class TestReading:
    def test_a_broken_policy_would_be_seen(self, chromium, site, user):
        """Every test here fails for an inline style; this one shows that by one. A script would not even get as far."""
        inline = """() => new Promise((resolve) => {
            addEventListener("securitypolicyviolation", resolve);
            document.body.append(Object.assign(document.createElement("style"), { textContent: "p {}" }));
        })"""
        with pytest.raises(AssertionError, match="style-src"), watched(chromium, base_url=site) as context:  # noqa: PT012  (it raises at its end)
            sign_in(context, site, user)
            ChatPage(context.new_page()).open().page.evaluate(inline)

    def test_without_javascript_the_form_shows_the_finished_reply(self, chromium, site, user, provider):
        provider.script(Script(["A **finished** reply"]))
        with watched(chromium, base_url=site, java_script_enabled=False) as context:
            sign_in(context, site, user)
            page = context.new_page()
            page.goto("/chat/")
            page.get_by_label("Message", exact=True).fill("Hi")
            page.get_by_role("button", name="Send").click()

            expect(page).to_have_url(re.compile(f"/chat/c/{UUID}"))
            expect(page.get_by_role("strong")).to_have_text("finished")

    def test_a_foreign_conversation_is_not_there(self, page: Page, site):
        conversation = make_conversation(make_user("bea"))

        assert page.goto(f"/chat/c/{conversation.pk}").status == 404

    def test_whoever_is_not_signed_in_comes_back_after_the_login(self, page: Page, context: BrowserContext):
        context.clear_cookies()
        page.goto("/chat/")

        expect(page).to_have_url(re.compile(r"/accounts/login/\?next=/chat/$"))
