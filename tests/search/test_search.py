"""Finding by text: words, what keeps the index, and what takes them out of it again."""

import re
import uuid
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO
from pathlib import Path
from unittest import skipUnless

from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.test import SimpleTestCase, TestCase, TransactionTestCase
from django.urls import reverse
from django.utils import timezone

from streaming_chat.admin.passages import passages
from streaming_chat.db.hooks import SavedText
from streaming_chat.engine.completion import end_reply
from streaming_chat.models import AccessRecord, Conversation, LiveReply, Message, SearchEntry
from streaming_chat.models.search import from_vector, vector
from streaming_chat.protocol import endings
from streaming_chat.protocol.events import Event
from streaming_chat.search import backends, entries, query, rebuild
from streaming_chat.search.tokenizer import MAX_WORD_CHARS, Term, places, terms, words
from streaming_chat.testing import Script
from tests.factories import make_conversation, make_live, make_message, make_reply, make_staff
from tests.native import ApiTestCase

LIST = "/admin/streaming_chat/conversation/"
SEARCH = f"{LIST}search/"
USING = "default"
# Syntax of FTS5, of a tsquery, of SQL, of HTML, and of nothing.
HOSTILE = (
    '"', '""', '"""', "'", "''", "*", "**", "a*b", '"a', 'a"b"c', "(", ")", "()", "(a", "a)", "a AND", "AND", "OR OR",
    "NOT", "a NOT", "NEAR(a, b)", "NEAR(", "a NEAR/2 b", "words:a", "-a", "a -", "+a", "^a", "{a b}:c", "a:b", "a:*",
    "a & b", "a | b", "!a", "a <-> b", "<2>", "'a':*", "a\\", "\\'", "a; DROP TABLE x", "%", "_", "%s", "%(a)s", "{}",
    "<script>", "\x00", "a\x00b", "\ud800", "\u202e", "…", "½", "ﷺ", "\U0001f600", "é" * 600, "取", "a " * 300, '"a ' * 50,
)  # fmt: skip


def add(message, using=USING):
    entries.add([SavedText(message.conversation_id, message.pk, message.is_reply, message.text)], using)
    return message


def said(text, conversation=None, **fields):
    """Return a message that can be found."""
    return add(make_message(conversation or make_conversation(), text, **fields))


def found(sought, **options):
    """Return the texts that a search finds, in its order."""
    return [hit.text for hit in query.look(sought, **options).hits]


def made(days, chance=0):
    """Return an id that was made so many days ago."""
    milliseconds = int((timezone.now() - timedelta(days=days)).timestamp() * 1000)
    return uuid.UUID(int=milliseconds << 80 | 0x7 << 76 | 0x2 << 62 | chance)


class WordTests(SimpleTestCase):
    def test_case_accents_and_width_make_no_difference(self):
        for one, other in (
            ("Café", "CAFE"), ("Straße", "strasse"), ("ＡＢＣ", "abc"), ("أغير", "اغير"), ("ﬁn", "fin"), ("ｶﾞ", "ガ"),
        ):  # fmt: skip
            assert words(one) == words(other), one

    def test_voiced_kana_are_letters_of_their_own(self):
        assert words("かぎ") != words("かき")

    def test_marks_of_a_script_hold_its_words_together(self):
        assert len(words("हिन्दी भाषा")) == 2

    def test_what_is_no_letter_divides(self):
        assert words("don't foo_bar ana@example.com 3.14") == [
            "don", "t", "foo", "bar", "ana", "example", "com", "3", "14",
        ]  # fmt: skip

    def test_scripts_without_spaces_are_pairs(self):
        assert words("取消订单。OK") == ["取消", "消订", "订单", "单", "ok"]

    def test_ascii_is_as_any_text(self):
        """It has a way of its own, five times as fast."""
        text = "It's a plain_text: 4 words-or-more, mañana."

        assert words(text.replace("ñ", "n")) == words(text)

    def test_what_an_index_cannot_take_is_left_out(self):
        assert words("a" * 100) == ["a" * MAX_WORD_CHARS]
        assert 100_000 <= len(words("ab " * 400_000)) < 130_000

    def test_a_tsvector_reads_back(self):
        text = words("to be or not to be")

        assert from_vector(vector(text)) == text


class TermTests(SimpleTestCase):
    def test_words_phrases_and_beginnings(self):
        assert terms('Rain "in Lisbon" fore* “of the”') == [
            Term(("rain",)), Term(("in", "lisbon")), Term(("fore",), is_prefix=True), Term(("of", "the")),
        ]  # fmt: skip

    def test_a_piece_of_several_words_is_a_phrase(self):
        assert terms("ana@example.com") == [Term(("ana", "example", "com"))]

    def test_one_character_of_a_script_without_spaces_is_a_beginning(self):
        assert terms("r*") == [Term(("r",))]
        assert terms("取") == [Term(("取",), is_prefix=True)]
        assert terms("取消订") == [Term(("取消", "消订"))]

    def test_any_text_is_taken(self):
        for sought in HOSTILE:
            for term in terms(sought):
                assert all(re.fullmatch(r"\w+", word) for word in term.words), (sought, term)

    def test_there_are_so_many_at_most(self):
        assert len(terms(" ".join(f"word{n}" for n in range(500)))) == 20

    def test_places_are_those_of_the_text(self):
        text = "Ich möchte MOCHTE, 我想取消订单 now"

        assert [text[start:end] for start, end in places(text, terms("mochte 取消 单 no*"))] == [
            "möchte", "MOCHTE", "取消", "单", "now",
        ]  # fmt: skip
        assert places("in Oslo, not in Lisbon", terms('"in lisbon"')) == [(13, 22)]


class PassageTests(SimpleTestCase):
    def test_what_was_found_is_marked_and_the_rest_escaped(self):
        assert passages("<b>Rain</b> & snow", terms("rain")) == ["&lt;b&gt;<mark>Rain</mark>&lt;/b&gt; &amp; snow"]

    def test_a_long_text_is_shown_in_pieces(self):
        text = f"{'before ' * 50}rain {'between ' * 50}rain {'after ' * 50}"
        first, second = passages(text, terms("rain"))

        assert "<mark>rain</mark>" in first
        assert "<mark>rain</mark>" in second
        assert first.startswith("… ")
        assert first.endswith(" …")
        assert len(first) < 260

    def test_there_are_three_at_most(self):
        assert len(passages(("rain " + "x " * 300) * 20, terms("rain"))) == 3

    def test_a_text_shows_its_beginning_where_nothing_is_to_be_marked(self):
        assert passages("Rain " * 5, terms("snow")) == ["Rain " * 5]


class FindingTests(TestCase):
    def test_all_words_must_be_there(self):
        said("Rain in Lisbon")
        said("Rain in Oslo")

        assert found("lisbon RAIN") == ["Rain in Lisbon"]
        assert found("lisbon oslo") == []

    def test_phrases(self):
        said("a refund of the order")
        said("the order of a refund")

        assert found('"refund of the"') == ["a refund of the order"]
        assert found('refund "the order"') == ["the order of a refund", "a refund of the order"]

    def test_beginnings(self):
        said("refunded")
        said("unrefunded")

        assert found("refund*") == found('"refund"*') == ["refunded"]
        assert found("refund") == []

    def test_scripts_without_spaces(self):
        for text in (
            "我想取消昨天的订单，谢谢。",
            "図書館の開館時間を教えてください。",
            "ขอเปลี่ยนที่อยู่จัดส่งได้ไหม",
            "ຂໍຂອບໃຈ",
            "ខ្ញុំស្រលាញ់",
        ):
            said(text)

        for sought, start in (
            ("取消", "我"),
            ("谢", "我"),
            ("開館", "図"),
            ("ください", "図"),
            ("เปลี่ยน", "ข"),
            ("ຂອບໃຈ", "ຂ"),
            ("ស្រលាញ់", "ខ"),
        ):
            with self.subTest(sought):
                assert [text[0] for text in found(sought)] == [start]
        assert found("消取") == []

    def test_hostile_terms_find_or_do_not_but_never_fail(self):
        said("a b c AND NOT words")
        for sought in HOSTILE:
            with self.subTest(ascii(sought)):
                found(sought.encode("utf-8", "replace").decode())

    def test_the_newest_are_first_whenever_they_were_added(self):
        conversation = make_conversation()
        for days in (2, 1, 3):
            said(f"rain {days}", conversation, pk=made(days))

        assert found("rain") == ["rain 1", "rain 2", "rain 3"]

    def test_the_last_90_days_come_before_what_is_older(self):
        said("rain of today")
        said("rain of last year", pk=made(200))

        assert found("rain") == ["rain of today"]
        assert found("rain", everything=True) == ["rain of today", "rain of last year"]
        assert found("rain", everything=True, before=query.recent_number()) == ["rain of last year"]

    def test_pages_go_on_where_the_last_one_ended(self):
        conversation = make_conversation()
        for days in range(1, 6):
            said(f"rain {days}", conversation, pk=made(days))
        first = query.look("rain", size=2)
        second = query.look("rain", size=2, before=first.next)
        last = query.look("rain", size=2, before=second.next)

        assert [hit.text[-1] for page in (first, second, last) for hit in page.hits] == ["1", "2", "3", "4", "5"]
        assert last.next is None

    def test_its_queries_do_not_grow(self):
        conversation = make_conversation()
        for _ in range(15):
            said("rain", conversation)

        with self.assertNumQueries(1):
            hits = query.look("rain").hits
            assert len({(hit.text, hit.conversation.owner.username) for hit in hits}) == 1

    def test_texts_of_one_millisecond_are_all_found(self):
        """As many as a client's whole history, which is written in one go."""
        conversation = make_conversation()
        first = made(1).int
        history = [make_message(conversation, f"rain {n}", pk=uuid.UUID(int=first + n)) for n in range(60)]
        entries.add([SavedText(conversation.pk, message.pk, False, message.text) for message in history], USING)
        said("rain of another", conversation, pk=uuid.UUID(int=first + 60))

        assert len(found("rain", size=100)) == 61

    def test_a_long_text_is_found_by_its_beginning(self):
        """A tsvector holds 1 MB, and the longest reply is longer."""
        said(f"rain {' '.join(f'{n:07}' for n in range(140_000))} snow")
        said("图书馆取消订" * 100_000)

        assert len(found("rain")) == 1
        assert len(found("取消订图")) == 1


class KeptUpTests(ApiTestCase):
    """What people send and providers write is found at once."""

    def test_a_message_and_its_reply_are_found(self):
        self.provider.script(Script(["It ", "rains ", "in Porto."]))
        reply = self.api.reply("What of Lisbon?")

        assert found("lisbon") == ["What of Lisbon?"]
        assert found('"rains in porto"') == ["It rains in Porto."]
        assert SearchEntry.objects.filter(conversation=reply.conversation_id).count() == 2

    def test_a_reply_written_again_is_found_too(self):
        reply = self.api.reply("Lisbon?")
        self.provider.script(Script(["Another one"]))
        self.api.post(f"api/messages/{reply.pk}/regenerate").getvalue()

        assert found("another") == ["Another one"]
        assert found("lisbon") == ["Lisbon?"]

    def test_what_its_owner_did_not_see_is_not_found(self):
        conversation = make_conversation()
        live = make_live(conversation)
        ended = Message.objects.get(pk=live.pk)
        with transaction.atomic():
            end_reply(
                ended.pk, conversation.pk, endings.stopped("user", 5), [Event("text", "Seen unseen")], using=USING
            )

        assert found("seen") == ["Seen"]
        assert found("unseen") == []

    def test_a_title_is_found_once_somebody_gave_it(self):
        reply = self.api.reply("Will it rain?")
        conversation = reply.conversation

        assert len(found("rain")) == 1

        self.api.patch(f"api/conversations/{conversation.pk}", {"title": "Umbrellas"})

        assert found("umbrellas") == ["Umbrellas"]

        self.api.patch(f"api/conversations/{conversation.pk}", {"title": "Sunshades"})

        assert found("umbrellas") == []
        assert found("sunshades") == ["Sunshades"]

    def test_a_new_conversations_title_is_found(self):
        self.api.post("api/conversations", {"title": "Umbrellas"})
        self.api.post("api/conversations", {})

        assert found("umbrellas") == ["Umbrellas"]
        assert SearchEntry.objects.count() == 1

    def test_a_failing_index_loses_no_reply(self):
        with broken_index(), self.assertLogs("streaming_chat", "ERROR") as logged:
            reply = self.api.reply("Will it rain?")

        assert (reply.status, reply.text) == ("completed", "Hello, world")
        assert not LiveReply.objects.exists()
        assert len(logged.output) == 2
        assert all("rain" not in line.split("\n")[0] for line in logged.output)

        assert added_by_rebuilding() == 2
        assert found("rain") == ["Will it rain?"]


@contextmanager
def broken_index():
    """Let every insertion into the index fail in the database."""
    table = SearchEntry._meta.db_table
    rename(table, "elsewhere")
    try:
        yield
    finally:
        rename("elsewhere", table)


def rename(table, name):
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # It refuses while checks of the transaction are outstanding.
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(f"ALTER TABLE {table} RENAME TO {name}")
        if connection.vendor == "postgresql":
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")


def added_by_rebuilding(*args):
    """Return how many texts `manage.py rebuildsearch` said it added."""
    out = StringIO()
    call_command("rebuildsearch", *args, stdout=out)
    return int(re.search(r"(\d+) texts added\.", out.getvalue())[1])


class RebuildTests(TransactionTestCase):
    def test_it_adds_what_is_missing_and_leaves_the_rest(self):
        said("rain known", make_conversation(title=""))
        conversation = make_conversation(title="Will it rain and")
        make_message(conversation, "Will it rain and pour?")
        make_reply(conversation, "", status="failed", parent=make_reply(conversation, "It will rain"))
        make_message(make_conversation(title="Rain renamed"), "snow")

        assert added_by_rebuilding() == 4
        assert sorted(found("rain")) == ["It will rain", "Rain renamed", "Will it rain and pour?", "rain known"]
        assert added_by_rebuilding() == 0

    def test_it_goes_on_where_it_was_broken_off(self):
        conversation = make_conversation(title="")
        Message.objects.bulk_create(
            Message(conversation=conversation, role="user", text=f"rain {n}") for n in range(1_100)
        )
        broken_off = rebuild.rebuild()

        assert next(broken_off) == 1_000

        broken_off.close()

        assert added_by_rebuilding() == 100
        assert query.conversations("rain") == ({conversation.pk}, True)
        assert SearchEntry.objects.count() == 1_100

    def test_it_begins_again(self):
        said("rain", make_conversation(title=""))

        assert added_by_rebuilding("--again") == 1
        assert found("rain") == ["rain"]

    def test_a_taken_number_is_no_obstacle(self):
        first, second = made(1, 1), made(1, 2)
        conversation = make_conversation(title="")
        said("rain one", conversation, pk=first)
        make_message(conversation, "rain two", pk=second)

        assert added_by_rebuilding() == 1
        assert sorted(found("rain")) == ["rain one", "rain two"]

    def test_a_text_has_one_entry(self):
        message = said("rain")

        with self.assertRaises(IntegrityError), transaction.atomic():
            SearchEntry.objects.create(conversation=message.conversation, message=message, words=["rain"])


@skipUnless(connection.vendor == "sqlite", "FTS5 is SQLite's")
class WithoutFts5Tests(TransactionTestCase):
    def setUp(self):
        backends.drop(connection)
        # What was saved meanwhile is in no table of words.
        self.addCleanup(rebuild.clear)

    def test_texts_are_saved_and_the_search_says_that_it_cannot(self):
        said("rain")
        self.client.force_login(make_staff("staff", "view_conversation", "view_transcript"))

        assert SearchEntry.objects.count() == 1
        with self.assertRaises(query.SearchUnavailable):
            query.look("rain")
        for url in (f"{SEARCH}?q=rain", f"{LIST}?q=rain"):
            assert "Texts cannot be searched here" in self.client.get(url).content.decode()
        assert self.client.get(LIST, {"q": "ana"}).context["cl"].result_count == 1

    def test_a_rebuild_makes_the_table_that_is_missing(self):
        said("rain", make_conversation(title=""))

        assert added_by_rebuilding() == 1
        assert found("rain") == ["rain"]


class ForgottenTests(TransactionTestCase):
    """What is redacted, or deleted, is gone from the index, and on SQLite from the bytes of the file."""

    def setUp(self):
        # Another one each time: the file is the same for all tests.
        self.canary = f"zyxw{uuid.uuid4().hex}"
        if connection.vendor == "sqlite":
            with connection.cursor() as cursor:
                # As the example site sets it.
                cursor.execute("PRAGMA secure_delete = ON")
        conversation = make_conversation(title="")
        for n in range(50):
            said(f"other {self.canary[:4]}{n}", conversation)
        self.message = said(f"{self.canary}one 図書館 {self.canary}two", conversation)

    def assert_gone(self):
        assert found(f"{self.canary}*", everything=True) == []
        assert found("図書館") == []
        assert len(found("other", size=100)) == 50
        assert self.canary not in self.dump()

    def dump(self):
        """Return the bytes of the file, or what every table of PostgreSQL holds, as text."""
        if connection.vendor == "sqlite":
            with connection.cursor() as cursor:
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                assert cursor.fetchall()[0][0] == 0
            return Path(connection.settings_dict["NAME"]).read_bytes().decode("latin-1")
        with connection.cursor() as cursor:
            rows = []
            for table in connection.introspection.table_names(cursor):
                cursor.execute(f'SELECT * FROM "{table}"')  # noqa: S608  (a name that the database gave)
                rows += cursor.fetchall()
        return str(rows)

    def test_it_was_there(self):
        assert self.canary in self.dump()
        assert len(found(f"{self.canary}*")) == 1

    def test_a_redacted_message_is_forgotten(self):
        with transaction.atomic():
            entries.forget([self.message.pk], USING)
            Message.objects.filter(pk=self.message.pk).update(text="", parts=[])

        self.assert_gone()

    def test_a_title_is_forgotten(self):
        message = self.message
        Message.objects.filter(pk=message.pk).update(text="", parts=[])
        entries.retitle(message.conversation_id, f"{self.canary} title", USING)
        entries.forget([message.pk], USING, titles_of=[message.conversation_id])

        self.assert_gone()

    def test_a_deleted_conversation_is_not_found_and_a_purge_takes_its_words(self):
        conversation = make_conversation(title="")
        said(f"{self.canary}three", conversation)
        Message.objects.filter(pk=self.message.pk).delete()
        Conversation.objects.filter(pk=conversation.pk).delete()

        assert found(f"{self.canary}*") == []

        entries.purge(USING)

        self.assert_gone()

    def test_rows_deleted_past_django_are_forgotten_too(self):
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM streaming_chat_searchentry WHERE message_id = %s", [self.id_of(self.message)])
            cursor.execute("UPDATE streaming_chat_conversation SET head_id = NULL")
            cursor.execute("DELETE FROM streaming_chat_message WHERE id = %s", [self.id_of(self.message)])
        entries.purge(USING)

        self.assert_gone()

    def id_of(self, message):
        return message.pk.hex if connection.vendor == "sqlite" else message.pk

    def test_a_rebuild_does_not_bring_it_back(self):
        Message.objects.filter(pk=self.message.pk).update(text="", parts=[])
        entries.forget([self.message.pk], USING)

        assert added_by_rebuilding() == 0

        self.assert_gone()

    def test_an_undone_transaction_forgets_nothing(self):
        with self.assertRaises(ZeroDivisionError), transaction.atomic():
            entries.forget([self.message.pk], USING)
            1 / 0  # noqa: B018  (any error)

        assert len(found(f"{self.canary}*")) == 1


class PageTestCase(TestCase):
    permissions = ("view_conversation", "view_transcript")

    def setUp(self):
        self.staff = make_staff("staff", *self.permissions)
        self.client.force_login(self.staff)

    def page(self, sought, **query):
        response = self.client.get(SEARCH, {"q": sought, **query})

        assert response.status_code == 200
        return response.content.decode()

    def records(self):
        return list(AccessRecord.objects.order_by("pk").values_list("kind", "by", "by_name", "terms"))


class SearchPageTests(PageTestCase):
    def test_a_hit_says_who_when_and_what_and_leads_to_the_message(self):
        reply = make_reply(make_conversation(), "It will **rain** <b>today</b>.")
        add(reply)
        page = self.page("RAIN today")

        assert "It will **<mark>rain</mark>** &lt;b&gt;<mark>today</mark>&lt;/b&gt;." in page
        assert "Assistant ·" in page
        assert "<bdi>ana</bdi>" in page

        link = re.search(r'href="([^"]+/change/\?[^"]+)"', page)[1]

        assert link == f"{LIST}{reply.conversation_id}/change/?message={reply.pk}#m-{reply.pk}"
        assert b"transcript-focus" in self.client.get(link).content

    def test_a_title_leads_to_its_conversation(self):
        conversation = make_conversation(title="Umbrellas", deleted_at=timezone.now())
        entries.retitle(conversation.pk, conversation.title, USING)
        page = self.page("umbrellas")

        assert "Title ·" in page
        assert "(deleted)" in page
        assert f'href="{reverse("admin:streaming_chat_conversation_change", args=[conversation.pk])}"' in page

    def test_every_search_is_recorded_each_page_too(self):
        self.page("rain")
        self.page("rain", before="5", page="2")
        self.page("")
        self.page("…")

        assert self.records() == [("search", self.staff.pk, "staff", "rain")] * 2

    def test_nothing_is_sought_when_it_cannot_be_recorded(self):
        said("rain")
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE streaming_chat_accessrecord RENAME TO elsewhere")
        self.client.raise_request_exception = False
        with self.assertLogs("django.request", "ERROR"), transaction.atomic():
            response = self.client.get(SEARCH, {"q": "rain"})
            transaction.set_rollback(True)

        assert response.status_code == 500
        assert b"<mark>" not in response.content

    def test_hostile_terms_are_answered(self):
        said("a b c AND NOT words")
        for sought in HOSTILE:
            with self.subTest(ascii(sought)):
                page = self.page(sought.encode("utf-8", "replace").decode())

                assert "<script>" not in page.split('role="search"')[1]

    def test_wrong_numbers_count_as_none(self):
        said("rain")
        for wrong in ("x", "-1", "9" * 30, "1.5", "٣"):
            assert "<mark>rain</mark>" in self.page("rain", before=wrong, page=wrong)

    def test_more_results_and_older_ones_are_a_link_away(self):
        conversation = make_conversation()
        for n in range(query.PAGE_SIZE + 1):
            said(f"rain {n}", conversation, pk=made(1, n))
        said("rain of last year", conversation, pk=made(200))
        first = self.page("rain")

        assert first.count("<mark>rain</mark>") == query.PAGE_SIZE
        assert "Search older" in first

        second = self.client.get(SEARCH + self.link(first, "More results")).content.decode()

        assert second.count("<mark>rain</mark>") == 1
        assert "More results" not in second

        older = self.client.get(SEARCH + self.link(second, "Search older")).content.decode()

        assert "<mark>rain</mark> of last year" in older
        assert "Search older" not in older

    def link(self, page, name):
        return re.search(rf'href="([^"]+)">{name}', page)[1].replace("&amp;", "&")

    def test_there_are_1000_at_most(self):
        conversation = make_conversation()
        for n in range(query.PAGE_SIZE + 1):
            said(f"rain {n}", conversation, pk=made(1, n))
        page = self.page("rain", page="50")

        assert "More results" not in page
        assert "These are the newest 1000." in page

    def test_nothing_found_is_said(self):
        assert "Nothing was found." in self.page("rain")
        assert "There is no word in that" in self.page("…")

    def test_its_queries_do_not_grow(self):
        said("rain")
        self.page("rain")
        for _ in range(15):
            said("rain")

        with self.assertNumQueries(6):
            self.page("rain")

    def test_nothing_is_inline(self):
        said("rain")
        page = self.page("rain")

        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)|javascript:", page)

    def test_what_is_not_text_is_not_loaded(self):
        make_reply(make_conversation(system_prompt="secret prompt", metadata={"page": "secret"}), "rain")
        added_by_rebuilding()

        assert "secret" not in self.page("rain")


class ListSearchTests(PageTestCase):
    def titles(self, sought):
        response = self.client.get(LIST, {"q": sought})

        assert response.status_code == 200
        return sorted(conversation.title for conversation in response.context["cl"].result_list)

    def test_conversations_are_found_by_their_texts(self):
        said("Will it rain?", make_conversation(title="a"))
        said("Will it snow?", make_conversation(title="b"))

        assert self.titles("rain") == ["a"]
        assert self.records() == [("search", self.staff.pk, "staff", "rain")]

    def test_an_id_is_not_sought_in_texts(self):
        conversation = make_conversation(title="a")

        assert self.titles(str(conversation.pk)) == ["a"]
        assert [kind for kind, *_rest in self.records()] == ["list"]

    def test_hostile_terms_are_answered(self):
        said("a b c")
        for sought in HOSTILE:
            with self.subTest(ascii(sought)):
                self.titles(sought.encode("utf-8", "replace").decode())

    def test_it_leads_to_the_page_with_the_passages(self):
        page = self.client.get(LIST, {"q": "rain & snow"}).content.decode()

        assert f'href="{SEARCH}?q=rain%20%26%20snow"' in page

    def test_its_queries_do_not_grow(self):
        said("rain", make_conversation())
        self.titles("rain")
        with self.assertNumQueries(10):
            self.titles("rain")
        for _ in range(15):
            said("rain", make_conversation())

        with self.assertNumQueries(10):
            self.titles("rain")


class WithoutTranscriptPermissionTests(PageTestCase):
    permissions = ("view_conversation",)

    def test_texts_are_not_searched_nor_is_that_offered(self):
        said("Will it rain?", make_conversation(title="a"))

        assert self.client.get(SEARCH, {"q": "rain"}).status_code == 403
        assert self.client.get(LIST, {"q": "rain"}).context["cl"].result_count == 0
        assert SEARCH not in self.client.get(LIST).content.decode()
        assert self.records() == []
