"""`manage.py recoverreplies`."""

import tempfile
import threading
from datetime import timedelta
from io import StringIO

from django.core.management import call_command
from django.db import connection
from django.db.models.functions import Now
from django.test import TestCase, TransactionTestCase, override_settings

from streaming_chat.models import LiveReply, Message, ReplyEvent
from streaming_chat.protocol.events import Event
from tests.engine.test_ending_journal import make_file
from tests.factories import make_conversation, make_live, make_user


def make_dead(*saved, name="ana", expires=-1):
    return make_live(make_conversation(make_user(name)), *saved, expires=expires)


def run_command(*arguments):
    out = StringIO()
    call_command("recoverreplies", *arguments, stdout=out)
    return out.getvalue().splitlines()


class RecoverRepliesTests(TestCase):
    """At once: that it watches first is told below."""

    def test_abandoned_replies_end_with_what_was_saved(self):
        dead = make_dead(Event("text", "It will "), Event("text", "rain"))

        assert run_command("--now") == [str(dead.pk), "0 saved, 1 recovered."]

        message = Message.objects.get(pk=dead.pk)

        assert (message.status, message.end_reason, message.text) == ("interrupted", "lease_expired", "It will rain")
        assert not ReplyEvent.objects.exists()

    def test_one_that_received_nothing_failed(self):
        dead = make_dead()
        run_command("--now")

        message = Message.objects.get(pk=dead.pk)

        assert (message.status, message.error_code) == ("failed", "lease_expired")

    def test_replies_whose_worker_lives_are_left_alone(self):
        alive = make_dead(expires=60)

        assert run_command("--now") == ["0 saved, 0 recovered."]
        assert LiveReply.objects.get().pk == alive.pk
        assert Message.objects.get(pk=alive.pk).status == "streaming"

    def test_one_that_cannot_be_read_harms_no_other(self):
        """A newer version may have written it."""
        odd = make_dead(Event("x", "no object"), expires=-2)
        dead = make_dead(Event("text", "It"), name="ben")
        with self.assertLogs("streaming_chat", "ERROR"):
            printed = run_command("--now")

        assert printed == [str(dead.pk), "0 saved, 1 recovered."]
        assert LiveReply.objects.get().pk == odd.pk

    def test_the_longest_abandoned_is_first(self):
        dead = [make_dead(name=f"user{expires}", expires=expires) for expires in (-1, -3, -2)]

        assert run_command("--now") == [str(dead[1].pk), str(dead[2].pk), str(dead[0].pk), "0 saved, 3 recovered."]

    def test_twice_is_once(self):
        make_dead()
        run_command("--now")

        assert run_command("--now") == ["0 saved, 0 recovered."]

    def test_a_dry_run_changes_nothing(self):
        dead = make_dead(Event("text", "It will"))

        assert run_command("--now", "--dry-run") == [str(dead.pk), "0 to save, 1 to recover."]
        assert LiveReply.objects.count() == 1
        assert ReplyEvent.objects.count() == 1
        assert Message.objects.get(pk=dead.pk).status == "streaming"

    def test_no_text_is_printed(self):
        make_dead(Event("text", "secret"))

        assert "secret" not in "".join(run_command("--now"))

    def test_what_waits_in_the_journal_is_saved_first(self):
        """Its worker is dead, too: recovered first, its text would be lost."""
        with tempfile.TemporaryDirectory() as folder, override_settings(STREAMING_CHAT_JOURNAL_DIR=folder):
            waiting, dead = make_file(folder, "It will rain", expires=-1), make_dead(Event("text", "No"), name="ben")
            dry = run_command("--now", "--dry-run")

            assert dry == [str(waiting.message_id), str(dead.pk), "1 to save, 1 to recover."]
            assert run_command("--now") == [str(waiting.message_id), str(dead.pk), "1 saved, 1 recovered."]
            assert Message.objects.get(pk=waiting.message_id).text == "It will rain"


@override_settings(STREAMING_CHAT_LEASE_SECONDS=2)
class WatchTests(TransactionTestCase):
    def test_those_that_a_worker_renews_meanwhile_live(self):
        """As after an outage of the database, which made every lease run out."""
        alive, dead = make_dead(name="ana"), make_dead(name="ben")
        printed = []

        def recover():
            printed.extend(run_command())
            connection.close()

        thread = threading.Thread(target=recover)
        thread.start()
        LiveReply.objects.filter(pk=alive.pk).update(expires_at=Now() + timedelta(seconds=60))
        thread.join()

        assert printed == [str(dead.pk), "0 saved, 1 recovered."]
        assert LiveReply.objects.get().pk == alive.pk
