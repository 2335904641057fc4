"""`manage.py rebuildsearch` adds what the index does not have."""

from django.db import IntegrityError, transaction
from django.test import TransactionTestCase

from streaming_chat.models import Message, SearchEntry
from streaming_chat.search import entries, query
from tests.factories import make_conversation, make_message, make_reply
from tests.search.factories import USING, added_by_rebuilding, found, made, said


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
        broken_off = entries.rebuild(USING)

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
