"""A deletion by the owner, which can be undone for a while."""

from datetime import timedelta

from django.test import TestCase

from streaming_chat.chats.deletion import delete_for_owner, restore
from streaming_chat.models import LiveReply
from tests.factories import make_conversation, make_live


class DeletionTests(TestCase):
    def test_it_is_marked_once_and_can_be_undone_in_time(self):
        conversation = make_conversation()

        assert delete_for_owner(conversation.pk)
        assert not delete_for_owner(conversation.pk)
        assert restore(conversation.pk, timedelta(seconds=60))
        assert not restore(conversation.pk, timedelta(seconds=60))

    def test_the_first_stop_wins(self):
        live = make_live(make_conversation(), stop="staff")
        delete_for_owner(live.conversation.pk)

        assert LiveReply.objects.get().stop == "staff"
