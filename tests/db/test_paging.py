"""Pages of a query by primary key, and transactions for each page."""

import threading
from unittest import skipUnless

from django.db import connection, connections, transaction
from django.test import TestCase, TransactionTestCase

from streaming_chat.db.paging import key_pages, pages, write_pages
from streaming_chat.models import Conversation
from tests.factories import make_conversation


class PagesTests(TestCase):
    def setUp(self):
        self.keys = sorted(make_conversation().pk for _ in range(5))

    def test_each_row_is_in_one_page_in_order(self):
        for size in (1, 2, 5, 9):
            found = list(key_pages(Conversation.objects.all(), size))

            assert [key for page in found for key in page] == self.keys
            assert max(map(len, found)) <= size

    def test_a_page_that_is_not_full_is_the_last(self):
        with self.assertNumQueries(3):
            list(key_pages(Conversation.objects.all(), 2))

    def test_no_rows_are_no_pages(self):
        assert list(key_pages(Conversation.objects.none(), 2)) == []

    def test_rows_after_a_key(self):
        rows = Conversation.objects.values("id", "title")
        found = [row["id"] for page in pages(rows, 2, key="id", after=self.keys[1]) for row in page]

        assert found == self.keys[2:]

    def test_rows_that_are_added_meanwhile_do_not_keep_it_going(self):
        seen = 0
        for page in key_pages(Conversation.objects.all(), 3):
            seen += len(page)
            make_conversation()

        assert 5 <= seen <= 8


class WritePagesTests(TransactionTestCase):
    def test_each_page_is_a_transaction(self):
        for _ in range(3):
            make_conversation()

        def write(keys):
            assert connection.in_atomic_block
            return Conversation.objects.filter(pk__in=keys).update(title="x")

        assert list(write_pages(Conversation.objects.all(), 2, write)) == [2, 1]

    @skipUnless(connection.vendor == "postgresql", "SQLite locks the whole database")
    def test_a_page_that_another_session_has_locked_is_skipped(self):
        keys = sorted(make_conversation().pk for _ in range(3))
        is_locked, is_done = threading.Event(), threading.Event()

        def lock():
            with transaction.atomic():
                Conversation.objects.select_for_update().get(pk=keys[0])
                is_locked.set()
                is_done.wait(30)
            connections.close_all()

        thread = threading.Thread(target=lock)
        thread.start()
        try:
            assert is_locked.wait(10)

            written = list(
                write_pages(
                    Conversation.objects.all(),
                    2,
                    lambda page: Conversation.objects.filter(pk__in=page).update(title="x"),
                )
            )
        finally:
            is_done.set()
            thread.join()

        assert written == [1]
