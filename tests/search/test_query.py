"""Searching by words, newest first."""

import uuid
from unittest import skipUnless

from django.db import connection
from django.test import TestCase, TransactionTestCase

from streaming_chat.db.hooks import SavedText
from streaming_chat.search import backends, entries, query
from tests.factories import make_conversation, make_message
from tests.search.factories import HOSTILE, USING, added_by_rebuilding, found, made, said


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
            with self.subTest(ascii(sought)):
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
        assert found("rain", everything=True, before=query.first_recent_number()) == ["rain of last year"]

    def test_pages_go_on_where_the_last_one_ended(self):
        conversation = make_conversation()
        for days in range(1, 6):
            said(f"rain {days}", conversation, pk=made(days))
        first = query.search("rain", size=2)
        second = query.search("rain", size=2, before=first.next)
        last = query.search("rain", size=2, before=second.next)

        assert [hit.text[-1] for page in (first, second, last) for hit in page.hits] == ["1", "2", "3", "4", "5"]
        assert last.next is None

    def test_its_queries_do_not_grow(self):
        conversation = make_conversation()
        for _ in range(15):
            said("rain", conversation)

        with self.assertNumQueries(1):
            hits = query.search("rain").hits
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


@skipUnless(connection.vendor == "sqlite", "FTS5 is SQLite's")
class MissingTableTests(TransactionTestCase):
    def test_a_rebuild_from_the_beginning_makes_the_table_that_is_missing(self):
        """A migration that alters the table of entries on SQLite makes it anew, without its triggers."""
        backends.drop(connection)
        said("rain", make_conversation(title=""))

        assert added_by_rebuilding("--again") == 1
        assert found("rain") == ["rain"]
