"""How staff judge conversations: states, queues, verdicts; who may; and two reviewers at the same moment."""

import html
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

from django.db import connection, connections, transaction
from django.db.models.functions import Now
from django.test import TestCase, TransactionTestCase, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from streaming_chat.admin.reviews import MAX_AT_ONCE
from streaming_chat.db.leases import lease_judge
from streaming_chat.engine.completion import end_reply
from streaming_chat.models import AccessRecord, Conversation, Feedback, Mark, Message, Review, ReviewState
from streaming_chat.models.reviews import draw
from streaming_chat.protocol.endings import Ending, completed, stopped
from streaming_chat.protocol.events import Event
from streaming_chat.review import queues, reviews
from streaming_chat.review.queues import CLAIM
from streaming_chat.review.reviews import Opinion, Seen, Stale
from streaming_chat.shortcuts import send_message
from tests.factories import make_conversation, make_live, make_message, make_reply, make_staff, make_steady, make_user
from tests.hostile import HOSTILE
from tests.native import ApiTestCase

LIST = "/admin/streaming_chat/conversation/"
NEXT = f"{LIST}review/next/"
READER = ("view_conversation", "view_transcript")
REVIEWER = (*READER, "review_conversation")
LABELS = override_settings(STREAMING_CHAT_REVIEW_LABELS=["wrong", "rude"])


def make_reviewer(name: str = "rita") -> Any:
    return make_staff(name, *REVIEWER)


def make_waiting(**fields: Any) -> Conversation:
    """Return a conversation with a reply, unreviewed."""
    conversation = make_conversation(**fields)
    make_reply(conversation)
    return conversation


def seen(conversation: Conversation) -> Seen:
    """Return what a reviewer has before them who opens it now."""
    row = Conversation.objects.select_related("review").get(pk=conversation.pk)
    version = row.review.version if hasattr(row, "review") else 0
    return Seen(version, row.last_activity, reviews.newest(row.pk), row.needs_attention)


def finish(conversation: Conversation, by: Any, **options: Any) -> bool:
    return reviews.finish(conversation.pk, by, seen(conversation), options.get("notes"), options.get("opinions", {}))


def state(conversation: Conversation) -> str:
    return Conversation.objects.get(pk=conversation.pk).review_state


def needs_attention(conversation: Conversation) -> bool:
    return Conversation.objects.get(pk=conversation.pk).needs_attention


def expire(conversation: Conversation) -> None:
    Review.objects.filter(pk=conversation.pk).update(claimed_at=Now() - CLAIM - timedelta(seconds=1))


class StateTests(TestCase):
    def setUp(self):
        self.rita, self.bo = make_reviewer(), make_reviewer("bo")
        self.conversation = make_waiting()

    def test_a_new_one_is_unreviewed(self):
        assert state(self.conversation) == "unreviewed"
        assert not Review.objects.exists()

    def test_who_takes_it_has_it(self):
        assert reviews.claim(self.conversation.pk, self.rita)
        assert not reviews.claim(self.conversation.pk, self.bo)
        assert reviews.claim(self.conversation.pk, self.rita)
        assert state(self.conversation) == "in_review"
        assert self.conversation.review.reviewer == self.rita

    def test_done_says_by_whom_when_and_how_far(self):
        assert finish(self.conversation, self.rita)
        review = self.conversation.review

        assert state(self.conversation) == "done"
        assert review.done_by == self.rita
        assert review.through_id == reviews.newest(self.conversation.pk)
        assert timezone.now() - review.done_at < timedelta(minutes=1)

    def test_what_came_since_it_was_seen_is_not_done(self):
        before = seen(self.conversation)
        make_message(self.conversation)
        Conversation.objects.filter(pk=self.conversation.pk).update(last_activity=Now() + timedelta(seconds=1))

        assert not reviews.finish(self.conversation.pk, self.rita, before, "mine", {})
        assert state(self.conversation) == "in_review"
        assert Review.objects.get().notes == "mine"
        assert Review.objects.get().done_by is None

    def test_the_last_activity_may_have_been_on_a_whole_second(self):
        """SQLite's clock writes .000, where Django writes nothing: as texts one is later than the other."""
        with connection.cursor() as cursor:
            cursor.execute("UPDATE streaming_chat_conversation SET last_activity = '2026-11-28 16:26:00.000'")

        assert finish(self.conversation, self.rita)

    def test_a_thumb_down_that_was_not_seen_is_not_done(self):
        before = seen(self.conversation)
        Conversation.objects.update(needs_attention=True)

        assert not reviews.finish(self.conversation.pk, self.rita, before, None, {})
        assert needs_attention(self.conversation)

    def test_a_message_of_elsewhere_is_not_how_far(self):
        here = seen(self.conversation)
        elsewhere = reviews.newest(make_waiting().pk)

        assert reviews.finish(self.conversation.pk, self.rita, Seen(0, here.activity, elsewhere), None, {})
        assert Review.objects.get().through is None

    def test_done_needs_no_more_attention(self):
        Conversation.objects.update(needs_attention=True)
        finish(self.conversation, self.rita)

        assert not needs_attention(self.conversation)

    def test_what_was_taken_is_free_again_after_half_an_hour(self):
        reviews.claim(self.conversation.pk, self.rita)
        reviews.release_expired()

        assert state(self.conversation) == "in_review"

        expire(self.conversation)

        assert reviews.claim(self.conversation.pk, self.bo)

    def test_saving_lets_the_half_hour_begin_anew(self):
        reviews.claim(self.conversation.pk, self.rita)
        expire(self.conversation)
        reviews.save(self.conversation.pk, self.rita, seen(self.conversation), None, {})

        assert not reviews.claim(self.conversation.pk, self.bo)

    def test_saving_takes_what_nobody_has(self):
        reviews.save(self.conversation.pk, self.rita, seen(self.conversation), "Hm", {})

        assert state(self.conversation) == "in_review"
        assert self.conversation.review.reviewer == self.rita

    def test_saving_takes_nothing_from_another(self):
        reviews.claim(self.conversation.pk, self.rita)
        reviews.save(self.conversation.pk, self.bo, seen(self.conversation), "Hm", {})

        assert self.conversation.review.reviewer == self.rita

    def test_what_is_done_may_get_notes_and_stays_so(self):
        finish(self.conversation, self.rita)
        reviews.save(self.conversation.pk, self.bo, seen(self.conversation), "Hm", {})

        assert state(self.conversation) == "done"
        assert Review.objects.get().notes == "Hm"

    def test_it_goes_with_its_conversation(self):
        finish(self.conversation, self.rita, notes="x", opinions={None: Opinion("bad")})
        self.conversation.delete()

        assert not Review.objects.exists()
        assert not Mark.objects.exists()

    def test_what_is_gone_cannot_be_judged(self):
        before = seen(self.conversation)
        pk = self.conversation.pk
        self.conversation.delete()

        assert not reviews.claim(pk, self.rita)
        assert not reviews.finish_as_is(pk, self.rita)
        for judging in (
            lambda: reviews.save(pk, self.rita, before, "x", {}),
            lambda: reviews.finish(pk, self.rita, before, "x", {}),
            lambda: reviews.judge(pk, self.rita, {None: Opinion("bad")}),
        ):
            with self.assertRaises(Conversation.DoesNotExist):
                judging()

    def test_it_stays_when_a_reviewer_goes(self):
        finish(self.conversation, self.rita, notes="x", opinions={None: Opinion("bad")})
        self.rita.delete()

        assert Review.objects.get().done_by is None
        assert Mark.objects.get().by is None


class StaleTests(TestCase):
    """Who saves what they made of an older version is told, and nothing is overwritten."""

    def setUp(self):
        self.rita, self.bo = make_reviewer(), make_reviewer("bo")
        self.conversation = make_waiting()
        self.before = seen(self.conversation)
        reviews.save(self.conversation.pk, self.rita, self.before, "Rita's", {})

    def test_notes_are_not_overwritten(self):
        with self.assertRaises(Stale) as raised:
            reviews.save(self.conversation.pk, self.bo, self.before, "Bo's", {})

        assert raised.exception.review.notes == "Rita's"
        assert Review.objects.get().notes == "Rita's"

    def test_done_is_not_said_twice(self):
        finish(self.conversation, self.rita)
        with self.assertRaises(Stale):
            reviews.finish(self.conversation.pk, self.bo, self.before, None, {})

        assert Review.objects.get().done_by == self.rita

    def test_verdicts_are_each_ones_own_and_saved(self):
        with self.assertRaises(Stale):
            reviews.save(self.conversation.pk, self.bo, self.before, "Bo's", {None: Opinion("bad")})

        assert Mark.objects.get().by == self.bo

    def test_who_changed_no_notes_overwrites_none(self):
        reviews.save(self.conversation.pk, self.bo, self.before, None, {None: Opinion("good")})

        assert Review.objects.get().notes == "Rita's"

    def test_who_saves_the_same_overwrites_none(self):
        reviews.save(self.conversation.pk, self.bo, self.before, "Rita's", {})


class ReopeningTests(ApiTestCase):
    """By what owners do, through the API."""

    def setUp(self):
        super().setUp()
        self.rita = make_reviewer()
        self.reply = self.api.reply()
        self.conversation = self.reply.conversation
        finish(self.conversation, self.rita)

    def test_a_newer_message_reopens_it(self):
        self.api.send("And tomorrow?", self.conversation)

        assert state(self.conversation) == "unreviewed"
        assert Review.objects.get().through_id == self.reply.pk

    def test_one_from_the_sites_own_code_does(self):
        with self.captureOnCommitCallbacks():
            send_message(self.user, "And tomorrow?", conversation=self.conversation)

        assert state(self.conversation) == "unreviewed"

    def test_a_reply_that_is_written_again_does(self):
        list(self.api.post(f"api/messages/{self.reply.pk}/regenerate").streaming_content)

        assert state(self.conversation) == "unreviewed"

    def test_an_ending_does(self):
        """What was done while it was written was not seen to its end."""
        live = make_live(self.conversation, Event("text", "Hel"))
        finish(self.conversation, self.rita)
        end_reply(live.pk, live.conversation_id, completed("stop", received=True), [], using="default")

        assert state(self.conversation) == "unreviewed"

    def test_one_in_review_stays_with_its_reviewer(self):
        self.api.send("And tomorrow?", self.conversation)
        reviews.claim(self.conversation.pk, self.rita)
        self.api.send("And then?", self.conversation)

        assert state(self.conversation) == "in_review"

    def test_it_costs_no_query(self):
        with CaptureQueriesContext(connection) as queries:
            self.api.send("And tomorrow?", self.conversation)
        reopening = [query["sql"] for query in queries if "review_state" in query["sql"] and "CASE" in query["sql"]]

        assert len(reopening) == 2
        assert not [query["sql"] for query in queries if "streaming_chat_review" in query["sql"]]
        assert all('"last_status"' in sql for sql in reopening)

    def test_a_thumb_down_reopens_it_and_a_thumb_up_does_not(self):
        path = f"api/messages/{self.reply.pk}/feedback"
        self.api.put(path, {"value": 1})

        assert (state(self.conversation), needs_attention(self.conversation)) == ("done", False)

        self.api.put(path, {"value": -1})

        assert (state(self.conversation), needs_attention(self.conversation)) == ("unreviewed", True)


class AttentionTests(TestCase):
    def test_it_is_wanted_by_endings_that_the_provider_did_not_mean(self):
        for ending, wanted in {
            completed("stop", received=True): False,
            completed("length", received=True): False,
            stopped("user"): True,
            stopped("disconnect"): True,
            Ending("interrupted", "lease_expired", "lease_expired"): True,
            Ending("failed", "", "provider_timeout"): True,
        }.items():
            with self.subTest(ending):
                live = make_live(make_conversation(make_user(str(ending)[:99])))
                end_reply(live.pk, live.conversation_id, ending, [], using="default")

                assert needs_attention(live.conversation) == wanted

    def test_a_good_ending_does_not_take_it_back(self):
        live = make_live(make_conversation(needs_attention=True))
        end_reply(live.pk, live.conversation_id, completed("stop", received=True), [], using="default")

        assert needs_attention(live.conversation)


class QueueTests(TestCase):
    def waiting(self, queue):
        return [conversation.title for conversation in queues.waiting(queue)]

    def test_newest_first(self):
        for days in (2, 1, 3):
            make_waiting(title=str(days), last_activity=Now() - timedelta(days=days))

        assert self.waiting("all") == ["1", "2", "3"]

    def test_what_nobody_need_see_is_in_none(self):
        rita = make_reviewer()
        make_conversation(title="empty", needs_attention=True)
        make_waiting(title="deleted", deleted_at=Now(), needs_attention=True)
        make_live(make_conversation(title="live", needs_attention=True))
        reviews.claim(make_waiting(title="in review", needs_attention=True).pk, rita)
        finish(make_waiting(title="done", needs_attention=True), rita)
        with override_settings(STREAMING_CHAT_REVIEW_SAMPLE_PERCENT=100):
            assert [self.waiting(queue) for queue in queues.Queue.values] == [[], [], []]

    def test_attention(self):
        make_waiting(title="a", needs_attention=True)
        make_waiting(title="b")

        assert self.waiting("attention") == ["a"]

    def test_a_sample_holds_each_smaller_one(self):
        for number in (0, 499, 500, 9_999):
            make_waiting(title=str(number), review_draw=number)
        found = {}
        for percent in (0, 1, 5, 5.01, 100):
            with override_settings(STREAMING_CHAT_REVIEW_SAMPLE_PERCENT=percent):
                found[percent] = sorted(self.waiting("sample"), key=int)

        assert found == {
            0: [],
            1: ["0"],
            5: ["0", "499"],
            5.01: ["0", "499", "500"],
            100: ["0", "499", "500", "9999"],
        }

    def test_a_sample_is_of_the_last_month(self):
        make_waiting(review_draw=0, last_activity=Now() - timedelta(days=31))

        assert self.waiting("sample") == []

    def test_numbers_are_drawn_evenly(self):
        drawn = [draw() for _ in range(20_000)]

        assert 0.04 < sum(number < 500 for number in drawn) / len(drawn) < 0.06
        assert 0 <= min(drawn) < max(drawn) < 10_000

    def test_next_takes_the_first_that_is_left(self):
        rita, bo = make_reviewer(), make_reviewer("bo")
        old, new = (make_waiting(last_activity=Now() - timedelta(days=days)) for days in (2, 1))

        assert reviews.claim_next("all", rita) == new.pk
        assert reviews.claim_next("all", bo) == old.pk
        assert reviews.claim_next("all", rita) is None

    def test_next_is_not_the_one_that_is_left(self):
        only = make_waiting()

        assert reviews.claim_next("all", make_reviewer(), besides=only.pk) is None

    def test_what_expired_is_in_it_again(self):
        conversation = make_waiting()
        reviews.claim(conversation.pk, make_reviewer())
        expire(conversation)

        assert reviews.claim_next("all", make_reviewer("bo")) == conversation.pk


class AtOnceTests(TransactionTestCase):
    """Threads, each with a connection of its own, on the database of the suite."""

    def at_once(self, *calls):
        """Return what the calls returned or raised, begun at the same moment."""
        barrier = threading.Barrier(len(calls))

        def run(call):
            try:
                barrier.wait(20)
                return call()
            except Stale as stale:
                return stale
            finally:
                connections.close_all()

        with ThreadPoolExecutor(len(calls)) as pool:
            return list(pool.map(run, calls))

    def test_no_two_get_the_same(self):
        wanted = {make_waiting(title=str(number)).pk for number in range(24)}
        reviewers = [make_reviewer(f"reviewer{number}") for number in range(4)]

        def all_of(by):
            found = []
            while pk := reviews.claim_next("all", by):
                found.append(pk)
            return found

        taken = self.at_once(*(lambda by=by: all_of(by) for by in reviewers))
        flat = [pk for found in taken for pk in found]

        assert len(flat) == len(set(flat))
        assert set(flat) == wanted
        for by, found in zip(reviewers, taken, strict=True):
            assert set(Review.objects.filter(reviewer=by).values_list("pk", flat=True)) == set(found)

    def test_what_has_expired_is_given_once(self):
        rita = make_reviewer()
        reviewers = [make_reviewer(f"reviewer{number}") for number in range(4)]
        for _round in range(5):
            conversation = make_waiting()
            reviews.claim(conversation.pk, rita)
            expire(conversation)
            taken = self.at_once(*(lambda by=by: reviews.claim_next("all", by) for by in reviewers))

            assert sorted(map(str, taken)) == [str(conversation.pk), "None", "None", "None"]
            Conversation.objects.all().delete()

    def test_one_of_two_is_told(self):
        """Nothing is overwritten: what is saved is the whole of what one of them wrote."""
        rita, bo = make_reviewer(), make_reviewer("bo")
        for _round in range(5):
            conversation = make_waiting()
            before = seen(conversation)

            def say(by, before=before, pk=conversation.pk):
                return reviews.finish(pk, by, before, f"By {by.pk}", {None: Opinion("bad")})

            said = self.at_once(lambda say=say: say(rita), lambda say=say: say(bo))
            review = Review.objects.get(pk=conversation.pk)

            assert sorted(map(str, said)) == sorted(["True", str(Stale(review))])
            assert review.notes == f"By {review.done_by_id}"
            assert Mark.objects.filter(conversation=conversation).count() == 2

    def test_done_and_a_newer_message(self):
        """Whichever comes first: what was not seen is not done."""
        rita = make_reviewer()
        for _round in range(5):
            conversation = make_waiting()
            before = seen(conversation)
            live = make_live(conversation)
            self.at_once(
                lambda before=before, pk=conversation.pk: reviews.finish(pk, rita, before, None, {}),
                lambda live=live: end_now(live),
            )

            assert state(conversation) in ("unreviewed", "in_review")


def end_now(live: Any) -> None:
    """End a reply as the writer does: the lock first."""
    with transaction.atomic():
        Conversation.objects.filter(pk=live.conversation_id).update(last_activity=Now())
        end_reply(live.pk, live.conversation_id, completed("stop", received=True), [], using="default")


@LABELS
class MarkTests(TestCase):
    def setUp(self):
        self.rita, self.bo = make_reviewer(), make_reviewer("bo")
        self.conversation = make_waiting()
        self.message = reviews.newest(self.conversation.pk)

    def marks(self):
        return [(mark.by.username, mark.message_id, mark.verdict, mark.labels) for mark in Mark.objects.order_by("pk")]

    def test_each_reviewer_has_their_own(self):
        for by, verdict in ((self.rita, "bad"), (self.bo, "good"), (self.rita, "unsafe")):
            reviews.judge(self.conversation.pk, by, {self.message: Opinion(verdict), None: Opinion(verdict, ["rude"])})

        assert sorted(self.marks(), key=str) == sorted(
            [
                ("rita", self.message, "unsafe", []),
                ("rita", None, "unsafe", ["rude"]),
                ("bo", self.message, "good", []),
                ("bo", None, "good", ["rude"]),
            ],
            key=str,
        )

    def test_what_is_not_named_stays(self):
        reviews.judge(self.conversation.pk, self.rita, {None: Opinion("bad", ["rude"])})
        reviews.judge(self.conversation.pk, self.rita, {None: Opinion(labels=["wrong"])})
        reviews.judge(self.conversation.pk, self.rita, {None: Opinion("good")})

        assert self.marks() == [("rita", None, "good", ["wrong"])]

    def test_it_can_be_taken_back(self):
        reviews.judge(self.conversation.pk, self.rita, {None: Opinion("bad", ["rude"])})
        reviews.judge(self.conversation.pk, self.rita, {None: Opinion("", [])})

        assert self.marks() == []

    def test_there_are_no_others(self):
        for arguments in (("terrible",), ("bad", ["tall"])):
            with self.subTest(arguments), self.assertRaises(ValueError):
                Opinion(*arguments)

    def test_messages_of_other_conversations_are_refused(self):
        with self.assertRaises(ValueError):
            reviews.judge(make_waiting().pk, self.rita, {self.message: Opinion("bad")})

        assert self.marks() == []


class PageTestCase(TestCase):
    def setUp(self):
        self.rita = make_reviewer()
        self.client.force_login(self.rita)

    def page(self, conversation, **query):
        url = reverse("admin:streaming_chat_conversation_change", args=[conversation.pk], query=query)
        response = self.client.get(url)

        assert response.status_code == 200
        return response.content.decode()

    def form(self, conversation, **query):
        """Return what the review form of a transcript sends as it is opened."""
        return form_of(self.page(conversation, **query))

    def say(self, conversation, form=None, **said):
        url = f"{LIST}{conversation.pk}/review/"
        return self.client.post(url, {**(form or self.form(conversation)), **said})


class Elements(HTMLParser):
    """The elements of a page with the names of their attributes, and all its text."""

    def __init__(self, page):
        super().__init__()
        self.found: list[Any] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, [name for name, _value in attributes]))

    def handle_data(self, data):
        self.text += data


def form_of(page):
    form = {}
    for field in re.findall(r"<input [^>]*>", page):
        attributes = dict(re.findall(r'([\w-]+)="([^"]*)"', field))
        is_sent = attributes["type"] == "hidden" or " checked" in field
        if is_sent and attributes["name"] != "csrfmiddlewaretoken":
            form[attributes["name"]] = html.unescape(attributes.get("value", ""))
    for name, options in re.findall(r'<select name="(\w+)">(.*?)</select>', page, re.DOTALL):
        chosen = re.search(r'value="(\w*)" selected', options)
        form[name] = chosen[1] if chosen else ""
    notes = re.search(r'<textarea [^>]*name="notes"[^>]*>\n(.*?)</textarea>', page, re.DOTALL)
    form["notes"] = html.unescape(notes[1])
    return form


@LABELS
class TranscriptTests(PageTestCase):
    def test_the_bar_says_how_it_stands(self):
        conversation = make_waiting(needs_attention=True)
        make_waiting(needs_attention=True)
        finish(make_waiting(), self.rita)
        reviews.claim(conversation.pk, self.rita)
        page = " ".join(re.sub(r"<[^>]+>", " ", self.page(conversation)).split())

        assert "in review: rita" in page
        assert "1 left · 1 done today" in page

    def test_what_others_did_today_and_we_yesterday_does_not_count(self):
        finish(make_waiting(), make_reviewer("bo"))
        finish(make_waiting(), self.rita)
        Review.objects.filter(done_by=self.rita).update(done_at=Now() - timedelta(days=1, hours=1))

        assert "0 done today" in self.page(make_waiting())

    def test_notes_and_verdicts_are_saved_and_shown_again(self):
        conversation = make_waiting()
        message = reviews.newest(conversation.pk)
        said = {"notes": "One\r\ntwo", "verdict": "bad", "labels": ["rude"], f"labels-{message}": ["wrong"]}
        response = self.say(conversation, message=[str(message)], **said)
        form = self.form(conversation)

        assert response.status_code == 302
        assert (form["notes"], form["verdict"], form["labels"]) == ("One\ntwo", "bad", "rude")
        assert form[f"labels-{message}"] == "wrong"
        assert Mark.objects.count() == 2

    def test_a_verdict_beside_a_message_leads_back_to_it(self):
        conversation = make_waiting()
        message = reviews.newest(conversation.pk)
        response = self.say(conversation, mark=f"{message}:bad", notes="Not lost")

        assert response.url.endswith(f"#m-{message}")
        assert Mark.objects.get().verdict == "bad"
        assert Review.objects.get().notes == "Not lost"
        assert re.search(rf'value="{message}:" data-verdict="bad" aria-pressed="true"', self.page(conversation))

    def test_done_stays_and_done_and_next_goes_on(self):
        first, second = (make_waiting(last_activity=Now() - timedelta(days=days)) for days in (1, 2))
        here = self.say(first, action="done", queue="all")
        next_one = self.say(first, action="done_next", queue="all")

        assert str(first.pk) in here.url
        assert str(second.pk) in next_one.url
        assert "queue=all" in next_one.url
        assert [state(first), state(second)] == ["done", "in_review"]

    def test_next_leaves_it_as_it_is_and_saves_what_was_said(self):
        first, second = (make_waiting(last_activity=Now() - timedelta(days=days)) for days in (1, 2))
        response = self.say(first, action="next", queue="all", verdict="good")

        assert str(second.pk) in response.url
        assert state(first) == "unreviewed"
        assert Mark.objects.get().verdict == "good"

    def test_the_end_of_a_queue_is_said(self):
        response = self.client.post(NEXT, {"queue": "sample"}, follow=True)

        assert "This is the end of the queue “random sample”." in response.content.decode()

    def test_next_opens_a_transcript(self):
        conversation = make_waiting(needs_attention=True)
        response = self.client.post(NEXT)

        self.assertRedirects(response, f"{LIST}{conversation.pk}/change/?queue=attention")

    def test_what_came_since_is_shown_first(self):
        conversation = make_waiting()
        form = self.form(conversation)
        later = make_message(conversation, "And tomorrow?")
        Conversation.objects.update(last_activity=Now() + timedelta(seconds=1))
        response = self.say(conversation, form, action="done_next", notes="Mine")

        assert response.url.endswith(f"message={later.pk}#m-{later.pk}")
        assert state(conversation) == "in_review"
        assert Review.objects.get().notes == "Mine"

    def test_a_stale_form_shows_both_notes(self):
        conversation = make_waiting()
        form = self.form(conversation)
        reviews.save(conversation.pk, make_reviewer("bo"), seen(conversation), "Theirs <b>", {})
        said = {"notes": "Mine <b>", "verdict": "bad", "queue": "all"}
        response = self.say(conversation, form, action="done", **said)
        page = response.content.decode()
        again = form_of(page)

        assert response.status_code == 409
        assert "Theirs &lt;b&gt;" in page
        assert again["notes"] == "Mine <b>"
        assert Review.objects.get().notes == "Theirs <b>"
        assert AccessRecord.objects.filter(kind="open", conversation=conversation.pk, by=self.rita).exists()

        assert self.say(conversation, again, action="done").status_code == 302
        assert Review.objects.get().notes == "Mine <b>"
        assert state(conversation) == "done"
        assert Mark.objects.get().verdict == "bad"

    def test_where_it_was_reviewed_to_is_linked(self):
        conversation = make_waiting()
        through = reviews.newest(conversation.pk)
        finish(conversation, self.rita)
        Conversation.objects.update(review_state=ReviewState.UNREVIEWED)

        assert f'href="?message={through}#m-{through}"' in self.page(conversation)

    def test_the_branch_that_was_read_is_kept(self):
        conversation = make_waiting()
        reply = conversation.head
        make_reply(conversation, "Another", parent=reply.parent)
        response = self.say(conversation, self.form(conversation, message=reply.pk), action="save")

        assert f"message={reply.pk}" in response.url

    def test_it_costs_no_query(self):
        conversation = make_waiting()
        url = f"{LIST}{conversation.pk}/change/"
        make_steady()
        self.addCleanup(lease_judge.reset)
        counts = []
        for name, permissions in (("text", READER), ("all", REVIEWER)):
            self.client.force_login(make_staff(name, *permissions))
            self.client.get(url)
            counts.append(self.count(url))
        for _ in range(20):
            reply = make_reply(conversation)
            for by in ("bo", "cy"):
                reviews.judge(conversation.pk, make_reviewer(by), {reply.pk: Opinion("bad", ["rude"])})
        counts.append(self.count(url))

        assert len(set(counts)) == 1
        assert counts[0] <= 10

    def count(self, url):
        """Return how many queries a page makes, without the savepoints that a test has in place of transactions."""
        with CaptureQueriesContext(connection) as queries:
            assert self.client.get(url).status_code == 200
        return len([query for query in queries if "SAVEPOINT" not in query["sql"]])

    def test_hostile_texts_are_text(self):
        """A page has the same elements and attributes as one of harmless texts, and shows the text."""
        harmless = self.pages_of("x")
        for name, text in HOSTILE.items():
            with self.subTest(name):
                for page, like in zip(self.pages_of(text), harmless, strict=True):
                    assert Elements(page).found == Elements(like).found

    def pages_of(self, text):
        """Return a transcript with this as notes and label, by another reviewer, and where two of it meet."""
        conversation = make_waiting()
        with override_settings(STREAMING_CHAT_REVIEW_LABELS=[text]):
            opinions = {message: Opinion("bad", [text]) for message in (None, reviews.newest(conversation.pk))}
            reviews.save(conversation.pk, make_reviewer("bo"), seen(conversation), text, opinions)
            page = self.page(conversation)
            form = form_of(page)
            conflict = self.say(conversation, {**form, "version": "0", "notes": f"{text} mine"}, action="done")

        assert form["notes"] == form["base"] == text.strip("\n")
        assert conflict.status_code == 409
        assert f"bo: bad, {text}" in Elements(page).text
        assert f"{text} mine" in Elements(conflict.content.decode()).text

        return page, conflict.content.decode()

    def test_forged_forms_are_refused(self):
        conversation = make_waiting()
        elsewhere = reviews.newest(make_waiting().pk)
        form = self.form(conversation)
        for change in (
            {"action": "erase"}, {"version": "x"}, {"version": ""}, {"activity": "now"}, {"activity": "2026-01-01"},
            {"through": "x"}, {"verdict": "awful"}, {"labels": "tall"}, {"mark": f"{elsewhere}:bad"}, {"mark": "x:bad"},
            {"message": "x"}, {"message": str(elsewhere), f"labels-{elsewhere}": "rude"}, {"notes": "x" * 20_001},
        ):  # fmt: skip
            with self.subTest(change):
                assert self.say(conversation, form, **change).status_code == 400
        assert state(conversation) == "unreviewed"
        assert not Review.objects.exists()
        assert not Mark.objects.exists()

    def test_an_unknown_conversation_is_not_found(self):
        form = self.form(make_waiting())

        assert self.client.post(f"{LIST}00000000-0000-7000-8000-000000000000/review/", form).status_code == 404

    def test_nothing_is_inline(self):
        for page in (self.page(make_waiting()), self.client.get(LIST).content.decode()):
            assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)|javascript:", page)


class ListTests(PageTestCase):
    def names(self, **query):
        response = self.client.get(LIST, query)

        assert response.status_code == 200
        return sorted(conversation.title for conversation in response.context["cl"].result_list)

    def act(self, action, *conversations, **form):
        chosen = [str(conversation.pk) for conversation in conversations]
        data = {"action": action, "_selected_action": chosen, "index": "0", **form}
        return " ".join(re.sub(r"<[^>]+>", " ", self.client.post(LIST, data, follow=True).content.decode()).split())

    def test_the_state_is_shown_and_filtered(self):
        bo = make_reviewer("bo")
        make_waiting(title="new", needs_attention=True)
        reviews.claim(make_waiting(title="mine").pk, self.rita)
        reviews.claim(make_waiting(title="bo's").pk, bo)
        finish(make_waiting(title="done"), bo)
        page = " ".join(re.sub(r"<[^>]+>", " ", self.client.get(LIST).content.decode()).split())

        assert "in review: rita, " in page
        assert "done: bo, " in page
        for value, names in {
            "attention": ["new"], "unreviewed": ["new"], "in_review": ["bo's", "mine"], "mine": ["mine"],
            "done": ["done"], "x": ["bo's", "done", "mine", "new"],
        }.items():  # fmt: skip
            with self.subTest(value):
                assert self.names(review=value) == names

    def test_what_was_taken_long_ago_is_not_in_review(self):
        """Next gives it to another: lists, filters and what is left say so before that."""
        conversations = [make_waiting(title=title) for title in ("mine", "bo's", "left")]
        for conversation, by in zip(conversations, (self.rita, make_reviewer("bo"), self.rita), strict=True):
            reviews.claim(conversation.pk, by)
        for conversation in conversations[:2]:
            expire(conversation)
        page = " ".join(re.sub(r"<[^>]+>", " ", self.client.get(LIST).content.decode()).split())
        transcript = " ".join(re.sub(r"<[^>]+>", " ", self.page(conversations[0], queue="all")).split())

        assert page.count("in review: rita, ") == 1
        assert "in review: bo, " not in page
        assert "unreviewed 2 left · 0 done today" in transcript
        for value, names in {"unreviewed": ["bo's", "mine"], "in_review": ["left"], "mine": ["left"]}.items():
            with self.subTest(value):
                assert self.names(review=value) == names
        assert {reviews.claim_next("all", self.rita) for _ in range(2)} == {row.pk for row in conversations[:2]}

    def test_the_filter_frees_however_many_in_as_many_queries(self):
        """And any filter that has to do with it does so first: each is asked for by itself."""
        counts = []
        for number in (0, 1, 30):
            for value in ("unreviewed", "in_review", "mine"):
                conversations = [make_waiting(title=str(title)) for title in range(number)]
                for conversation in conversations:
                    reviews.claim(conversation.pk, self.rita)
                for conversation in conversations:
                    expire(conversation)
                self.client.get(LIST)
                with CaptureQueriesContext(connection) as queries:
                    names = self.names(review=value)
                counts.append(len([query for query in queries if "SAVEPOINT" not in query["sql"]]))

                assert bool(names) == (value == "unreviewed" and number > 0)
                Conversation.objects.all().delete()

        assert len(set(counts[:3])) == 1
        # The lock and the update, and the record of a list that has rows to show.
        assert max(counts[3:]) <= counts[0] + 3
        assert max(counts) <= 10

    def test_rows_cost_no_queries_and_no_notes_are_loaded(self):
        reviews.claim(make_waiting().pk, self.rita)
        self.client.get(LIST)
        with CaptureQueriesContext(connection) as few:
            self.client.get(LIST)
        for number in range(10):
            finish(make_waiting(), make_reviewer(f"user{number}"), notes="x")
        with CaptureQueriesContext(connection) as many:
            self.client.get(LIST)

        assert len(few) == len(many) <= 10
        assert not [query["sql"] for query in many if '"notes"' in query["sql"]]

    def test_several_are_marked_as_done(self):
        bo = make_reviewer("bo")
        free, mine, theirs, done = (make_waiting() for _ in range(4))
        reviews.claim(mine.pk, self.rita)
        reviews.claim(theirs.pk, bo)
        finish(done, bo)
        page = self.act("mark_done", free, mine, theirs, done)

        assert "2 conversations are done." in page
        assert "2 were left as they are" in page
        assert [state(row) for row in (free, mine, theirs, done)] == ["done", "done", "in_review", "done"]
        assert Review.objects.get(pk=done.pk).done_by == bo
        assert Review.objects.get(pk=free.pk).through_id == reviews.newest(free.pk)

    def test_several_are_assigned(self):
        free, theirs = make_waiting(), make_waiting()
        reviews.claim(theirs.pk, make_reviewer("bo"))
        page = self.act("assign_to_me", free, theirs)

        assert "1 conversation is with you." in page
        assert "1 was left as it is" in page
        assert Review.objects.get(pk=free.pk).reviewer == self.rita
        assert Review.objects.get(pk=theirs.pk).reviewer.username == "bo"

    def test_there_is_a_limit(self):
        conversations = [make_conversation() for _ in range(MAX_AT_ONCE + 1)]
        page = self.act("assign_to_me", conversations[0], select_across="1")

        assert f"Choose {MAX_AT_ONCE} at most" in page
        assert Conversation.objects.filter(review_state="in_review").count() == MAX_AT_ONCE

    def test_nothing_else_can_be_done_to_several(self):
        conversation = make_waiting()
        response = self.client.get(LIST)

        assert [name for name, _words in response.context["action_form"].fields["action"].choices if name] == [
            "mark_done",
            "assign_to_me",
        ]
        self.act("delete_selected", conversation, post="yes")

        assert Conversation.objects.count() == 1

    def test_ids_that_are_none_are_not_found(self):
        response = self.client.post(LIST, {"action": "mark_done", "_selected_action": "x", "index": "0"})

        assert response.status_code == 404


class SettingsTests(TestCase):
    def test_feedback_and_messages_are_still_whole(self):
        """The tables of judging refer to them; a message that is gone leaves no review without its conversation."""
        conversation = make_waiting()
        Feedback.objects.create(message=conversation.head, value=-1, owner_key=conversation.owner_key)
        finish(conversation, make_reviewer())
        Message.objects.filter(pk=conversation.head_id).delete()

        assert Review.objects.get().through is None
