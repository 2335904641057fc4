"""The messages that need attention, as the chips of a transcript name them, on all branches."""

import re
from datetime import UTC, datetime, timedelta

from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation

from streaming_chat.admin.transcripts import PAGE_SIZE, Transcript
from streaming_chat.models import Feedback, Message
from tests.admin.base import READER, AdminTestCase, transcript_url
from tests.factories import make_conversation, make_live, make_message, make_reply, make_staff

CHIP = re.compile(r'<a href="\?([^"]*)"( aria-current="true")?>([^<]*)</a>')


def rate_bad(message, comment=""):
    Feedback.objects.create(message=message, value=-1, comment=comment, owner_key=message.conversation.owner_key)


def chips_of(page):
    """Return the chips of a page as (address, whether it is the one in view, words)."""
    found = "".join(re.findall(r'<ul class="transcript-flagged".*?</ul>', page, re.DOTALL))
    return [(address.replace("&amp;", "&"), bool(current), words) for address, current, words in CHIP.findall(found)]


class FlagTests(AdminTestCase):
    def page(self, conversation, **query):
        return self.client.get(transcript_url(conversation, **query)).content.decode()

    def make_regenerated(self, **at):
        """Return a conversation whose owner rated a reply bad and had it written again, and both replies."""
        conversation = make_conversation()
        bad = make_reply(conversation, "Nonsense", **at)
        rate_bad(bad)
        better = make_reply(conversation, "Better", parent=bad.parent, **at)
        return conversation, bad, better

    def test_a_reply_on_another_branch_is_named_and_in_view(self):
        conversation, bad, _better = self.make_regenerated()
        page = self.page(conversation)
        ((address, is_current, words),) = chips_of(page)

        assert address == f"message={bad.pk}#m-{bad.pk}"
        assert is_current
        assert words.startswith("Rated bad, version 1 of 2, ")
        assert re.findall(r'id="m-([\w-]+)" class="transcript-message transcript-focus"', page) == [str(bad.pk)]
        assert "Better" not in page

    def test_the_owners_branch_is_a_link_away(self):
        conversation, bad, better = self.make_regenerated()
        page = self.page(conversation)

        assert f'<a href="?message={better.pk}#m-{better.pk}">Show the owner’s branch</a>' in page

        page = self.page(conversation, message=better.pk)

        assert "Better" in page
        assert "Show the owner’s branch" not in page
        assert [(address, current) for address, current, _words in chips_of(page)] == [
            (f"message={bad.pk}#m-{bad.pk}", False)
        ]

    def test_the_time_has_a_date_only_if_the_conversation_has_several_days(self):
        noon = datetime(2026, 3, 4, 14, 3, tzinfo=UTC)
        conversation, _bad, _better = self.make_regenerated(created_at=noon)
        Message.objects.update(created_at=noon)
        with timezone.override(UTC), translation.override("de"):
            (flag,) = Transcript.open(conversation.pk, may_read=False).flags

            assert flag.label == "schlecht bewertet, Version 1 von 2, 14:03"

            make_message(conversation, "The next day", created_at=noon + timedelta(days=1))
            (flag,) = Transcript.open(conversation.pk, may_read=False).flags

            assert flag.label == "schlecht bewertet, Version 1 von 2, 04.03.2026 14:03"

    def test_bad_ones_come_first_then_the_owners_branch(self):
        conversation = make_conversation()
        elsewhere = make_reply(conversation, "", status="failed", error_code="provider_timeout")
        stopped = make_reply(conversation, "It", parent=elsewhere.parent, status="stopped", end_reason="user")
        make_message(conversation, "And?")
        bad = make_reply(conversation, "Nonsense", status="interrupted", error_code="provider_stall")
        rate_bad(bad)
        with self.settings(STREAMING_CHAT_REVIEW_REASONS=["rated_bad", "failed", "interrupted", "stopped"]):
            found = Transcript.open(conversation.pk, may_read=True).flags

        assert [(flag.message, flag.reason, flag.index, flag.count) for flag in found] == [
            (bad.pk, "rated bad", 1, 1),
            (stopped.pk, "stopped early", 2, 2),
            (elsewhere.pk, "failed", 1, 2),
        ]

    def test_only_the_reasons_of_the_setting_are_named(self):
        """As in the queue, whose conversations these chips explain."""
        conversation = make_conversation()
        failed = make_reply(conversation, "", status="failed", error_code="provider_timeout")
        make_reply(conversation, "It", status="stopped", end_reason="user")
        bad = make_reply(conversation, "", status="failed", error_code="provider_timeout")
        rate_bad(bad)
        for reasons, wanted in (
            (["rated_bad", "failed", "interrupted"], [(bad.pk, "rated bad"), (failed.pk, "failed")]),
            (["failed"], [(bad.pk, "failed"), (failed.pk, "failed")]),
            (["rated_bad"], [(bad.pk, "rated bad")]),
            ([], []),
        ):
            with self.subTest(reasons), self.settings(STREAMING_CHAT_REVIEW_REASONS=reasons):
                found = Transcript.open(conversation.pk, may_read=True).flags

                assert [(flag.message, flag.reason) for flag in found] == wanted

    def test_a_chip_leads_to_another_page_of_another_branch(self):
        conversation = make_conversation()
        start = make_reply(conversation, "Start")
        for number in range(PAGE_SIZE):
            make_message(conversation, f"First branch {number}.")
        bad = make_reply(conversation, "Far away")
        rate_bad(bad)
        make_message(conversation, "Second branch", parent=start)
        owners = make_reply(conversation, "Fine")
        page = self.page(conversation, message=owners.pk)
        ((address, is_current, _words),) = chips_of(page)

        assert "Far away" not in page
        assert not is_current

        page = self.client.get(f"{transcript_url(conversation)}?{address.split('#')[0]}").content.decode()

        assert "Far away" in page
        assert "First branch 0." not in page

    def test_every_one_is_named(self):
        """The first ten are in view; the others are folded."""
        conversation = make_conversation()
        replies = [make_reply(conversation, "", status="failed", error_code="provider_timeout")]
        replies += [
            make_reply(conversation, "", parent=replies[0].parent, status="failed", error_code="provider_timeout")
            for _ in range(11)
        ]
        page = self.page(conversation)

        assert {address.split("#m-")[1] for address, _current, _words in chips_of(page)} == {
            str(reply.pk) for reply in replies
        }
        assert "2 more messages that need attention" in page

    def test_links_keep_the_queue_and_the_list(self):
        conversation, bad, better = self.make_regenerated()
        kept = {"queue": "sample", "_changelist_filters": "review=done"}
        page = self.page(conversation, **kept)
        ((address, _current, _words),) = chips_of(page)

        assert "queue=sample" in address
        assert "_changelist_filters=review%3Ddone" in address
        assert address.endswith(f"&message={bad.pk}#m-{bad.pk}")
        assert len(re.findall(rf'href="\?[^"]*queue=sample[^"]*message={better.pk}#', page)) == 2

    def test_no_text_is_needed(self):
        """Who may see the statistics sees the same chips, and no comment."""
        conversation, bad, _better = self.make_regenerated()
        Feedback.objects.update(comment="A secret")
        before = chips_of(self.page(conversation))
        self.client.force_login(make_staff("counter", "view_conversation"))
        page = self.page(conversation)

        assert chips_of(page) == before
        assert str(bad.pk) in page
        assert "A secret" not in page
        assert "Nonsense" not in page

    def test_branches_and_a_live_reply_elsewhere_cost_no_queries(self):
        conversation, bad, better = self.make_regenerated()
        for _ in range(20):
            rate_bad(make_reply(conversation, "Worse", parent=better.parent, status="interrupted"))
        live = make_live(conversation)
        Message.objects.filter(pk=live.pk).update(parent=bad.parent)
        self.client.force_login(make_staff("all", *READER, "review_conversation", "stop_reply"))
        self.client.get(transcript_url(conversation))
        with CaptureQueriesContext(connection) as queries:
            page = self.page(conversation)

        # A test's transaction has savepoints where a request would have a transaction. Leases are looked at, too,
        # once the database has worked for the length of one.
        unlike = ("SAVEPOINT", 'FROM "streaming_chat_livereply"')

        assert len(chips_of(page)) == 21
        assert len([each for each in queries if not any(words in each["sql"] for words in unlike)]) <= 10


class LiveTests(AdminTestCase):
    permissions = (*READER, "stop_reply")

    def test_a_long_conversation_opens_at_its_live_reply(self):
        conversation = make_conversation()
        for number in range(PAGE_SIZE):
            make_message(conversation, f"Before {number}.")
        live = make_live(conversation)
        page = self.client.get(transcript_url(conversation)).content.decode()

        assert f'id="m-{live.pk}" class="transcript-message transcript-focus"' in page

    def test_stop_is_above_the_text_wherever_the_reply_is(self):
        """Also if another branch is in view, because something there needs attention."""
        conversation = make_conversation()
        rate_bad(bad := make_reply(conversation, "Nonsense"))
        live = make_live(conversation)
        Message.objects.filter(pk=live.pk).update(parent=bad.parent)
        page = self.client.get(transcript_url(conversation)).content.decode()

        assert f'id="m-{live.pk}"' not in page
        assert "data-follow" not in page
        assert f'href="?message={live.pk}#m-{live.pk}"' in page
        assert 0 < page.index("Stop this reply") < page.index("transcript-summary")

    def test_there_is_no_bar_without_a_live_reply(self):
        conversation = make_conversation()
        make_reply(conversation)
        page = self.client.get(transcript_url(conversation)).content.decode()

        assert "transcript-live-bar" not in page
        assert "admin/live.js" not in page
