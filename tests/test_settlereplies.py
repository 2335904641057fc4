"""`manage.py settlereplies`."""

from io import StringIO

from django.core.management import call_command
from django.test import TestCase

from streaming_chat.events import Event
from streaming_chat.models import LiveReply, Message, ReplyEvent

from .factories import make_conversation, make_live, make_user


class SettleRepliesTests(TestCase):
    def run_command(self, *arguments):
        out = StringIO()
        call_command("settlereplies", *arguments, stdout=out)
        return out.getvalue().splitlines()

    def make_dead(self, *saved, name="ana", expires=-1):
        return make_live(make_conversation(make_user(name)), *saved, expires=expires)

    def test_abandoned_replies_end_with_what_was_saved(self):
        dead = self.make_dead(Event("text", "It will "), Event("text", "rain"))

        assert self.run_command() == [str(dead.pk), "1 settled."]

        message = Message.objects.get(pk=dead.pk)

        assert (message.status, message.end_reason, message.text) == ("interrupted", "lease_expired", "It will rain")
        assert not ReplyEvent.objects.exists()

    def test_one_that_received_nothing_failed(self):
        dead = self.make_dead()
        self.run_command()

        message = Message.objects.get(pk=dead.pk)

        assert (message.status, message.error_code) == ("failed", "lease_expired")

    def test_replies_whose_worker_lives_are_left_alone(self):
        alive = self.make_dead(expires=60)

        assert self.run_command() == ["0 settled."]
        assert LiveReply.objects.get().pk == alive.pk
        assert Message.objects.get(pk=alive.pk).status == "streaming"

    def test_the_longest_abandoned_is_first(self):
        dead = [self.make_dead(name=f"user{expires}", expires=expires) for expires in (-1, -3, -2)]

        assert self.run_command() == [str(dead[1].pk), str(dead[2].pk), str(dead[0].pk), "3 settled."]

    def test_twice_is_once(self):
        self.make_dead()
        self.run_command()

        assert self.run_command() == ["0 settled."]

    def test_a_dry_run_changes_nothing(self):
        dead = self.make_dead(Event("text", "It will"))

        assert self.run_command("--dry-run") == [str(dead.pk), "1 to settle."]
        assert LiveReply.objects.count() == 1
        assert ReplyEvent.objects.count() == 1
        assert Message.objects.get(pk=dead.pk).status == "streaming"

    def test_no_text_is_printed(self):
        self.make_dead(Event("text", "secret"))

        assert "secret" not in "".join(self.run_command())
