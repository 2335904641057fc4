"""Deleting through Django, while a reply is being written."""

import threading

from django.contrib.auth import get_user_model
from django.db import connection, connections, transaction
from django.db.models.functions import Now
from django.test import TransactionTestCase

from streaming_chat.events import TEXT, Event
from streaming_chat.models import Conversation, LiveReply, Message

from .factories import make_conversation, make_live, make_reply, make_user
from .servers import wait_until


class DeletionTests(TransactionTestCase):
    def test_an_owner_who_is_deleted_takes_everything_along(self):
        make_reply(make_conversation(make_user()), "Yes.")
        make_user().delete()

        assert (Conversation.objects.count(), Message.objects.count()) == (0, 0)

    def test_a_deletion_and_an_ending_wait_for_each_other_in_one_order(self):
        """As the writer ends a reply: the conversation first, then the claim. The other order was a deadlock."""
        live = make_live(make_conversation(make_user()), Event(TEXT, "Hello"))
        errors = []

        def delete():
            try:
                make_user().delete()
            except Exception as error:  # noqa: BLE001  (it is what the test is about)
                errors.append(error)
            finally:
                connections.close_all()

        thread = threading.Thread(target=delete)
        with transaction.atomic():
            Conversation.objects.filter(pk=live.conversation_id).update(last_activity=Now())
            thread.start()
            self.wait_until_it_waits()

            assert LiveReply.objects.filter(pk=live.pk).remove() == 1
        thread.join(30)

        assert errors == []
        assert get_user_model().objects.count() == Message.objects.count() == 0

    def wait_until_it_waits(self):
        """Only PostgreSQL says so; SQLite lets one transaction write at a time, whatever its order."""
        if connection.vendor == "postgresql":
            wait_until(self.waiting)

    def waiting(self):
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            return cursor.fetchone()[0]
