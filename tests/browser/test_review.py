"""Reviewing in a browser: by keys alone, on a phone, and two reviewers at once."""

import re
from contextlib import ExitStack

import pytest
from django.conf import settings
from playwright.sync_api import Page, expect

from streaming_chat.models import Conversation, Review, Verdict
from streaming_chat.review import reviews
from tests.factories import make_conversation, make_reply, make_staff
from tests.hostile import CANARY, HOSTILE

from .axe import violations
from .conftest import sign_in, watched

LIST = "/admin/streaming_chat/conversation/"
REVIEWER = ("view_conversation", "view_transcript", "review_conversation")


@pytest.fixture
def reviewer(transactional_db: None):
    return make_staff("rita", *REVIEWER)


@pytest.fixture
def page(chromium, site, reviewer):
    with watched(chromium, base_url=site, viewport={"width": 1100, "height": 760}) as context:
        sign_in(context, site, reviewer)
        yield context.new_page()


def make_waiting(title: str = "Rain in Lisbon", turns: int = 2, **fields) -> Conversation:
    conversation = make_conversation(title=title, needs_attention=True, **fields)
    for turn in range(turns):
        make_reply(conversation, f"{title}, reply {turn}. " + "It will rain. " * 60)
    return conversation


def url_of(conversation: Conversation) -> str:
    return f"{LIST}{conversation.pk}/change/"


def expect_keys(page: Page) -> None:
    """Wait for the script."""
    expect(page.get_by_role("button", name="Next message")).to_be_visible()


def message_in_focus(page: Page) -> str:
    return page.evaluate("document.activeElement.closest('li[id^=\"m-\"]')?.id ?? ''")


class TestKeys:
    def test_a_round_trip(self, page, reviewer):
        """The next one, its second message flagged, notes, done and next, to the end of the queue."""
        second, first = make_waiting("Second"), make_waiting("First")
        ids = [f"m-{pk}" for pk in first.messages.order_by("created_at", "pk").values_list("pk", flat=True)]
        page.goto(LIST)
        page.get_by_role("button", name="Review the next one").focus()
        page.keyboard.press("Enter")
        expect(page.locator("h1", has_text="First")).to_be_visible()

        assert page.url.endswith(f"{url_of(first)}?queue=attention")

        expect(page.get_by_text("1 left · 0 done today")).to_be_visible()
        expect_keys(page)
        seen = []
        for key in "jjk":
            page.keyboard.press(key)
            seen.append(message_in_focus(page))

        assert seen == [ids[0], ids[1], ids[0]]

        page.keyboard.press("j")
        page.keyboard.press("f")
        page.wait_for_url(f"**#{ids[1]}")
        expect(page.locator(f"#{ids[1]} [data-verdict=bad]")).to_have_attribute("aria-pressed", "true")

        expect(page.locator(f"#{ids[1]}")).to_be_focused()

        assert Verdict.objects.get().value == "bad"

        page.keyboard.press("k")

        assert message_in_focus(page) == ids[0]

        page.get_by_text("Notes and labels").focus()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        page.keyboard.type("just find fixes, jk")
        expect(page.locator("textarea[name=notes]")).to_have_value("just find fixes, jk")
        page.locator("textarea[name=notes]").evaluate("field => field.blur()")
        page.keyboard.press("d")
        expect(page.locator("h1", has_text="Second")).to_be_visible()
        expect(page.get_by_text("0 left · 1 done today")).to_be_visible()

        assert Review.objects.get(pk=first.pk).notes == "just find fixes, jk"
        assert Review.objects.get(pk=first.pk).done_by == reviewer
        assert Conversation.objects.get(pk=first.pk).review_state == "done"

        expect_keys(page)
        page.keyboard.press("d")
        expect(page.get_by_text("This is the end of the queue")).to_be_visible()

        assert Conversation.objects.get(pk=second.pk).review_state == "done"

    def test_keys_with_a_modifier_are_the_browsers(self, page):
        conversation = make_waiting()
        page.goto(url_of(conversation))
        expect_keys(page)
        for key in ("Control+d", "Alt+f", "Shift+J"):
            page.keyboard.press(key)

        assert message_in_focus(page) == ""
        assert Conversation.objects.get().review_state == "unreviewed"

    def test_they_are_about_the_message_with_the_outline(self, page):
        """At first what somebody should look at, then what was clicked; what is out of view is not meant."""
        conversation = make_waiting(turns=3)
        bad = make_reply(conversation, "", status="failed", error_code="provider_timeout")
        last = make_reply(conversation, "It will rain. " * 60)
        ids = [str(pk) for pk in conversation.messages.order_by("created_at", "pk").values_list("pk", flat=True)]
        page.goto(url_of(conversation))
        expect_keys(page)
        expect(page.locator(".transcript-focus")).to_have_id(f"m-{bad.pk}")
        page.keyboard.press("f")
        page.wait_for_url(f"**#m-{bad.pk}")

        assert [str(verdict.message_id) for verdict in Verdict.objects.all()] == [str(bad.pk)]

        expect_keys(page)
        page.locator(f"#m-{last.pk} .transcript-text").click()
        expect(page.locator(".transcript-focus")).to_have_id(f"m-{last.pk}")
        page.keyboard.press("f")
        page.wait_for_url(f"**#m-{last.pk}")

        assert {str(verdict.message_id) for verdict in Verdict.objects.all()} == {str(bad.pk), str(last.pk)}

        expect_keys(page)
        page.locator(f"#m-{bad.pk} button").first.focus()
        expect(page.locator(".transcript-focus")).to_have_id(f"m-{bad.pk}")
        page.locator(f"#m-{ids[0]}").evaluate("message => message.scrollIntoView()")
        page.keyboard.press("j")

        assert message_in_focus(page) == f"m-{ids[0]}"

    def test_each_key_is_a_button_too(self, page, reviewer):
        conversation = make_waiting()
        reviews.take(conversation.pk, reviewer)
        page.goto(url_of(conversation))
        keys = {"Previous message": "k", "Next message": "j", "Flag": "f", "Done and next": "d", "Release": "r"}
        for name, key in keys.items():
            button = page.locator(".review-bar").get_by_role("button", name=name)
            expect(button).to_be_visible()
            expect(button).to_have_attribute("aria-keyshortcuts", key)
        page.get_by_role("button", name="Next message").click()

        assert message_in_focus(page)

        page.get_by_text("Keyboard shortcuts", exact=True).click()
        expect(page.get_by_text("Shortcuts are off while you type in a field.")).to_be_visible()


class TestUndo:
    """After a hasty key, at any point of a queue: by the same hand, or by the button."""

    def test_d_is_undone_by_u(self, page, reviewer):
        second, first = make_waiting("Second"), make_waiting("First")
        page.goto(LIST)
        page.get_by_role("button", name="Review the next one").click()
        expect(page.locator("h1", has_text="First")).to_be_visible()
        expect_keys(page)
        page.keyboard.press("d")
        expect(page.locator("h1", has_text="Second")).to_be_visible()
        expect(page.get_by_text("The conversation is reviewed.")).to_be_visible()
        expect_keys(page)
        page.keyboard.press("u")
        expect(page.locator("h1", has_text="First")).to_be_visible()
        expect(page.get_by_text("The review is reopened, and the conversation is assigned to you.")).to_be_visible()
        expect(page.get_by_text("1 left · 0 done today")).to_be_visible()
        expect(page.locator(".review-state")).to_contain_text("in review: rita")

        assert Conversation.objects.get(pk=first.pk).needs_attention
        assert Conversation.objects.get(pk=second.pk).review_state == "unreviewed"

        expect_keys(page)
        page.keyboard.press("d")
        expect(page.locator("h1", has_text="Second")).to_be_visible()

    def test_the_last_one_is_undone_from_the_list(self, page):
        for way in ("key", "button"):
            conversation = make_waiting(way)
            page.goto(url_of(conversation))
            expect_keys(page)
            page.keyboard.press("d")
            expect(page.get_by_text("This is the end of the queue")).to_be_visible()
            undo = page.get_by_role("button", name="Undo")
            expect(undo.locator("kbd")).to_be_visible()
            if way == "key":
                page.keyboard.press("u")
            else:
                undo.click()
            expect(page.locator("h1", has_text=way)).to_be_visible()
            expect(page.locator(".review-state")).to_contain_text("in review: rita")

            assert Conversation.objects.get(pk=conversation.pk).needs_attention

            Conversation.objects.all().delete()

    def test_a_finished_one_is_reopened_by_key_and_button(self, page):
        conversation = make_waiting()
        page.goto(url_of(conversation))
        for way in ("key", "button"):
            expect_keys(page)
            page.get_by_role("button", name="Done", exact=True).click()
            expect(page.locator(".review-state")).to_contain_text("done: rita")
            expect_keys(page)
            if way == "key":
                page.keyboard.press("u")
            else:
                page.get_by_role("button", name="Reopen").click()
            expect(page.locator(".review-state")).to_contain_text("in review: rita")

        assert Review.objects.get().done_by is None

    def test_it_works_without_script(self, chromium, site, reviewer):
        conversation = make_waiting()
        with watched(chromium, base_url=site, java_script_enabled=False) as context:
            sign_in(context, site, reviewer)
            page = context.new_page()
            page.goto(url_of(conversation))
            page.get_by_role("button", name="Done and next").click()
            page.get_by_role("button", name="Undo").click()
            expect(page.locator(".review-state")).to_contain_text("in review: rita")
            page.get_by_role("button", name="Release").click()
            expect(page.locator(".review-state")).to_have_text("unreviewed")

    def test_what_another_reviewer_changed_is_not_undone(self, page, chromium, site):
        """Bo reopens what Rita has finished, and takes it, before she presses u."""
        conversation = make_waiting()
        page.goto(url_of(conversation))
        expect_keys(page)
        page.keyboard.press("d")
        expect(page.get_by_role("button", name="Undo")).to_be_visible()
        with watched(chromium, base_url=site) as context:
            sign_in(context, site, make_staff("bo", *REVIEWER))
            other = context.new_page()
            other.goto(url_of(conversation))
            expect_keys(other)
            other.keyboard.press("u")
            expect(other.locator(".review-state")).to_contain_text("in review: bo")
        page.keyboard.press("u")
        expect(page.get_by_text("Nothing was reopened")).to_be_visible()
        expect(page.locator(".review-state")).to_contain_text("in review: bo")


class TestCorrections:
    def test_what_was_typed_is_kept_in_the_tab_until_it_is_saved(self, page):
        conversation = make_waiting(turns=1)
        reply = conversation.messages.get(role="assistant")
        field = page.locator(f'textarea[name="correction-{reply.pk}"]')
        page.goto(url_of(conversation))
        page.get_by_text("Corrected answer").click()
        field.fill("It will not rain.")
        page.goto(LIST)
        page.goto(url_of(conversation))
        expect(field).to_be_visible()
        expect(field).to_have_value("It will not rain.")
        page.get_by_role("button", name="Save", exact=True).first.click()
        expect(page.get_by_text("Saved.")).to_be_visible()
        expect(field).to_have_value("It will not rain.")

        assert Verdict.objects.get().correction == "It will not rain."

        field.fill("")
        page.get_by_role("button", name="Save", exact=True).first.click()
        expect(page.get_by_text("Saved.")).to_be_visible()
        expect(field).to_be_hidden()

        assert not Verdict.objects.exists()


class TestReleasing:
    def test_r_and_next_let_another_reviewer_have_it(self, page, chromium, site):
        second, first = make_waiting("Second"), make_waiting("First")
        with watched(chromium, base_url=site) as context:
            sign_in(context, site, make_staff("bo", *REVIEWER))
            other = context.new_page()
            page.goto(LIST)
            page.get_by_role("button", name="Review the next one").click()
            expect(page.locator("h1", has_text="First")).to_be_visible()
            page.get_by_role("button", name="Next", exact=True).click()
            expect(page.locator("h1", has_text="Second")).to_be_visible()
            other.goto(LIST)
            other.get_by_role("button", name="Review the next one").click()
            expect(other.locator("h1", has_text="First")).to_be_visible()
            expect_keys(page)
            page.keyboard.press("r")
            expect(page.get_by_text("The conversation is released.")).to_be_visible()
            expect(page.get_by_role("button", name="Release")).to_have_count(0)
            expect_keys(other)
            other.keyboard.press("d")
            expect(other.locator("h1", has_text="Second")).to_be_visible()

        assert Review.objects.get(pk=first.pk).done_by.username == "bo"
        assert Review.objects.get(pk=second.pk).reviewer.username == "bo"

    def test_what_was_typed_is_saved(self, page, reviewer):
        conversation = make_waiting()
        reviews.take(conversation.pk, reviewer)
        page.goto(url_of(conversation))
        page.get_by_text("Notes and labels").click()
        page.locator("textarea[name=notes]").fill("For a colleague who knows Lisbon")
        page.get_by_role("button", name="Release").click()
        expect(page.get_by_text("The conversation is released.")).to_be_visible()

        assert Review.objects.get().notes == "For a colleague who knows Lisbon"


class TestAllPages:
    def test_the_number_is_confirmed(self, page):
        """Django's own link selects all pages."""
        for number in range(55):
            make_conversation(title=f"Chat {number}")
        page.goto(LIST)
        self.mark_all(page)

        assert violations(page, "#content") == []
        assert not Conversation.objects.exclude(review_state="unreviewed").exists()

        page.get_by_role("link", name="Cancel").click()
        expect(page).to_have_url(re.compile(f"{LIST}$"))
        self.mark_all(page)
        page.get_by_role("button", name="Mark as reviewed").click()
        expect(page.get_by_text("55 conversations are done.")).to_be_visible()

        assert set(Conversation.objects.values_list("review_state", flat=True)) == {"done"}

    def mark_all(self, page):
        page.locator("#action-toggle").check()
        page.locator(".actions .question a").click()
        page.select_option("select[name=action]", "mark_done")
        page.locator("button[name=index]").click()
        expect(page.get_by_text("This applies to 55 conversations on all pages of the list.")).to_be_visible()


class TestDrafts:
    def test_notes_are_there_again_after_another_page_and_a_new_session(self, page, reviewer, site):
        conversation = make_waiting(turns=30)
        page.goto(url_of(conversation))
        expect_keys(page)
        page.get_by_text("Notes and labels").click()
        notes = page.locator("textarea[name=notes]")
        notes.fill("Half a thought")
        page.get_by_role("link", name="Later messages").first.click()
        expect(notes).to_have_value("Half a thought")
        notes.fill("A thought")
        page.context.clear_cookies(name=settings.SESSION_COOKIE_NAME)
        page.get_by_role("button", name="Save", exact=True).first.click()
        expect(page.locator("input[name=password]")).to_be_visible()
        target = page.evaluate("new URLSearchParams(location.search).get('next')")
        sign_in(page.context, site, reviewer)
        page.goto(target)
        expect(page).to_have_url(re.compile(re.escape(url_of(conversation))))
        expect(notes).to_have_value("A thought")
        page.get_by_role("button", name="Save", exact=True).first.click()
        expect(page.get_by_text("Saved.")).to_be_visible()

        assert Review.objects.get().notes == "A thought"
        assert page.evaluate("sessionStorage.length") == 0

    def test_what_another_saved_meanwhile_is_not_overwritten(self, page):
        conversation = make_waiting()
        page.goto(url_of(conversation))
        expect_keys(page)
        page.get_by_text("Notes and labels").click()
        page.locator("textarea[name=notes]").fill("Mine")
        page.goto(LIST)
        Review.objects.create(conversation=conversation, notes="Theirs", version=1)
        page.goto(url_of(conversation))
        expect(page.locator("textarea[name=notes]")).to_have_value("Mine")
        page.get_by_role("button", name="Save", exact=True).first.click()
        expect(page.locator("#review-theirs")).to_have_text("Theirs")
        page.get_by_role("link", name="Back to the conversation").click()
        expect(page.locator("textarea[name=notes]")).to_have_value("Theirs")


class TestColours:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_a_pressed_verdict_can_be_read(self, page, reviewer, scheme):
        conversation = make_waiting()
        for message, verdict in zip(conversation.messages.all(), ("good", "bad", "unsafe", "unclear"), strict=True):
            Verdict.objects.create(conversation=conversation, message=message, by=reviewer, value=verdict)
        page.emulate_media(color_scheme=scheme)
        page.goto(url_of(conversation))
        expect(page.locator("[aria-pressed=true]")).to_have_count(4)

        assert violations(page, ".transcript") == []


class TestBar:
    def test_it_stays_in_view_and_hides_no_message(self, page):
        conversation = make_waiting(turns=6)
        for size in ({"width": 1100, "height": 760}, {"width": 360, "height": 640}):
            page.set_viewport_size(size)
            page.goto(url_of(conversation))
            # A narrow window hides these buttons by its style; the script removes the attribute in any.
            expect(page.locator("[data-review-move]").first).not_to_have_attribute("hidden", "")
            for _ in range(4):
                page.keyboard.press("j")
            bar = page.locator(".review-bar").bounding_box()
            message = page.locator("li:focus").bounding_box()

            assert 0 <= bar["y"] < 2
            assert bar["y"] + bar["height"] <= message["y"] + 1
            assert bar["height"] < size["height"] / 2
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]

    def test_it_works_without_script(self, chromium, site, reviewer):
        first, second = make_waiting("Second"), make_waiting("First")
        with watched(chromium, base_url=site, java_script_enabled=False) as context:
            sign_in(context, site, reviewer)
            page = context.new_page()
            page.goto(url_of(second))
            page.locator("[data-verdict=unsafe]").first.click()
            expect(page.locator("[data-verdict=unsafe]").first).to_have_attribute("aria-pressed", "true")
            page.get_by_role("button", name="Done and next").click()
            expect(page.locator("h1", has_text="Second")).to_be_visible()

        assert Verdict.objects.get().value == "unsafe"
        assert Conversation.objects.get(pk=first.pk).review_state == "in_review"

    def test_hostile_notes_do_nothing(self, page):
        """The watched context fails for every script that runs, and a request to the canary is one too many."""
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("dialog", lambda dialog: asked.append(dialog.message))
        conversation = make_waiting()
        notes = "\n".join(HOSTILE.values()).replace("\0", "")
        Review.objects.create(conversation=conversation, notes=notes, version=1)
        page.goto(url_of(conversation))
        expect(page.locator("textarea[name=notes]")).to_have_value(notes)
        Review.objects.update(version=2)
        page.locator("textarea[name=notes]").fill(f"{notes} mine")
        page.get_by_role("button", name="Save", exact=True).first.click()
        expect(page.locator("#review-mine")).to_have_value(f"{notes} mine")
        expect(page.locator("#review-theirs")).to_have_text(notes)

        assert not [url for url in asked if not url.startswith(page.url.split("/admin")[0]) or CANARY in url]


class TestTwoReviewers:
    def test_ten_chats_none_twice(self, chromium, site, transactional_db):
        wanted = {str(make_waiting(f"Chat {number}").pk) for number in range(10)}
        opened = {"rita": [], "bo": []}
        with ExitStack() as stack:
            pages = {}
            for name in opened:
                context = stack.enter_context(watched(chromium, base_url=site))
                sign_in(context, site, make_staff(name, *REVIEWER))
                pages[name] = context.new_page()
                pages[name].goto(LIST)
                pages[name].get_by_role("button", name="Review the next one").click(no_wait_after=True)
            for _turn in range(4):
                for name, page in pages.items():
                    page.wait_for_url("**/change/?queue=attention")
                    opened[name].append(re.search(r"conversation/([0-9a-f-]+)/change", page.url)[1])
                for page in pages.values():
                    # Both before either has its answer.
                    page.locator("button[value=done_next]").evaluate("button => void setTimeout(() => button.click())")
                for name, page in pages.items():
                    page.wait_for_url(lambda url, last=opened[name][-1]: last not in url)
            for name, page in pages.items():
                opened[name].append(re.search(r"conversation/([0-9a-f-]+)/change", page.url)[1])
                expect_keys(page)
                page.keyboard.press("d")
                expect(page.get_by_text("This is the end of the queue")).to_be_visible()

        assert len(opened["rita"] + opened["bo"]) == 10
        assert set(opened["rita"] + opened["bo"]) == wanted
        assert set(Conversation.objects.values_list("review_state", flat=True)) == {"done"}
        assert {str(pk) for pk in Review.objects.filter(done_by__username="bo").values_list("pk", flat=True)} == set(
            opened["bo"]
        )

    def test_both_notes_are_there_to_choose_from(self, page, site, chromium):
        conversation = make_waiting()
        page.goto(url_of(conversation))
        page.get_by_text("Notes and labels").click()
        page.locator("textarea[name=notes]").fill("Rita's")
        with watched(chromium, base_url=site) as context:
            sign_in(context, site, make_staff("bo", *REVIEWER))
            other = context.new_page()
            other.goto(url_of(conversation))
            other.get_by_text("Notes and labels").click()
            other.locator("textarea[name=notes]").fill("Bo's")
            other.get_by_role("button", name="Save", exact=True).first.click()
            expect(other.get_by_text("in review: bo")).to_be_visible()
        page.get_by_role("button", name="Done", exact=True).click()
        expect(page.locator("#review-theirs")).to_have_text("Bo's")
        expect(page.locator("#review-mine")).to_have_value("Rita's")

        assert Review.objects.get().notes == "Bo's"

        page.locator("#review-mine").fill("Both")
        page.get_by_role("button", name="Save mine and finish").click()
        expect(page.get_by_text("done: rita")).to_be_visible()

        assert Review.objects.get().notes == "Both"
