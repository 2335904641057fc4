"""How a reply's ending is saved."""

from datetime import timedelta
from typing import ClassVar

from django.db.models.functions import Now
from django.test import TestCase, TransactionTestCase, override_settings

from streaming_chat.engine.completion import Completion, end_reply
from streaming_chat.engine.ending_journal import Record
from streaming_chat.engine.recovery import recover_reply
from streaming_chat.models import Conversation, LiveReply, Message, ReplyEvent
from streaming_chat.notifiers import Notifier
from streaming_chat.protocol import endings
from streaming_chat.protocol.events import Event
from streaming_chat.quotas import Quota
from tests.factories import end_live, make_conversation, make_live

from .runs import COMPLETED, POISON, Received, save


class RecordingNotifier(Notifier):
    """Notes when followers are notified."""

    calls: ClassVar[list[str]] = []

    def notify_on_commit(self, using, message_ids):
        self.calls.append("notify")


class RecordingQuota(Quota):
    """Notes when it reconciles."""

    def plan(self, request, owner_key, *, input_tokens, output_tokens):
        return {"tokens": 1}

    def reconcile(self, reconciliations, using):
        RecordingNotifier.calls.append("reconcile")


BACKENDS = {
    "STREAMING_CHAT_NOTIFIER": {"BACKEND": f"{__name__}.RecordingNotifier"},
    "STREAMING_CHAT_QUOTA": {"BACKEND": f"{__name__}.RecordingQuota"},
}


@override_settings(**BACKENDS)
class OrderTests(TransactionTestCase):
    """Many replies share the quota's rows, so these are locked last, after followers are notified."""

    def setUp(self):
        RecordingNotifier.calls.clear()

    def check(self):
        assert RecordingNotifier.calls == ["notify", "reconcile"]

    def make_live(self, **fields) -> LiveReply:
        return make_live(make_conversation(), Event("text", "It"), reserved={"tokens": 1}, **fields)

    def test_the_ending_of_a_run(self):
        run = Received("me", "Hello")
        LiveReply.objects.update(reserved={"tokens": 1})
        run.outcome = COMPLETED
        save([run])
        self.check()

    def test_one_that_the_database_refuses(self):
        run = Received("me", "Hello")
        LiveReply.objects.update(reserved={"tokens": 1})
        run.events.append(POISON)
        with self.assertLogs("streaming_chat", "ERROR"):
            save([run])
        self.check()

    def test_that_of_a_dead_workers_reply(self):
        recover_reply(self.make_live(expires=-1))
        self.check()

    def test_one_that_waited_in_the_journal(self):
        live = self.make_live(worker="me")
        completion = Completion(live.pk, live.conversation_id, "me", COMPLETED, [Event("text", "It")])
        Record(completion, COMPLETED).save()
        self.check()


class FailingNotifier(Notifier):
    """A site's own, with a fault."""

    def notify_on_commit(self, using, message_ids):
        raise KeyError("channel")

    publish = notify_on_commit


@override_settings(STREAMING_CHAT_NOTIFIER={"BACKEND": f"{__name__}.FailingNotifier"})
class FailingNotifierTests(TransactionTestCase):
    def test_its_fault_harms_no_reply(self):
        run = Received("me", "Hel")
        LiveReply.objects.update(followed_until=Now() + timedelta(seconds=60))
        with self.assertLogs("streaming_chat", "ERROR") as logs:
            save([run])
            run.receive("lo")
            run.outcome = COMPLETED
            save([run])

        assert run.sent == [("completed", 6)]
        assert run.message.text == "Hello"
        assert all("KeyError" in line for line in logs.output)


class EndReplyTests(TestCase):
    RECEIVED = (Event("reasoning", "Hm."), Event("text", "It will "), Event("text", "rain"))

    def setUp(self):
        self.live = make_live(make_conversation(), *self.RECEIVED)

    def end(self, ending, received=RECEIVED, **fields):
        return end_live(self.live, ending, *received, **fields)

    def message(self):
        return Message.objects.get(pk=self.live.pk)

    def test_it_holds_its_parts_and_the_live_rows_are_gone(self):
        assert self.end(endings.completed("stop"), input_tokens=5, output_tokens=6)

        message = self.message()

        assert (message.status, message.end_reason, message.text) == ("completed", "stop", "It will rain")
        assert message.parts == [{"kind": "reasoning", "text": "Hm."}, {"kind": "text", "text": "It will rain"}]
        assert (message.position, message.end_position, message.cut_position) == (16, 16, None)
        assert message.ended_at
        assert not LiveReply.objects.exists()
        assert not ReplyEvent.objects.exists()
        conversation = Conversation.objects.get()
        assert (conversation.last_status, conversation.input_tokens, conversation.output_tokens) == ("completed", 5, 6)

    def test_only_once(self):
        self.end(endings.stopped("user"))

        assert not self.end(endings.completed("stop"), input_tokens=5)
        assert self.message().status == "stopped"
        assert Conversation.objects.get().input_tokens == 0

    def test_a_cut_ends_the_text_and_not_the_parts(self):
        self.end(endings.stopped("user", 11))
        message = self.message()

        assert (message.text, message.cut_position, message.end_position) == ("It will", 11, 11)
        assert message.parts[1]["text"] == "It will rain"
        assert [event.payload for event in message.events()] == ["Hm.", "It will"]
        assert [event.payload for event in message.events(whole=True)] == ["Hm.", "It will rain"]
        assert message.end_payload()["length"] == 7

    def test_a_cut_past_the_end_is_none_and_one_before_the_start_is_the_start(self):
        self.end(endings.stopped("user", 99))

        assert self.message().cut_position is None

        self.live = make_live(make_conversation(), *self.RECEIVED)
        self.end(endings.stopped("user", 0))

        assert (self.message().cut_position, self.message().text) == (1, "")


class OutputTests(TestCase):
    """Of a reply that is to be an object, readers are sent what its row says."""

    TEXT = Event("text", '{"a": 1}')

    def check(self, ending, **fields):
        live = make_live(make_conversation())
        fields["model"] = "demo:demo"
        completion = Completion(live.pk, live.conversation_id, live.worker, COMPLETED, [self.TEXT], fields)
        completion = completion.with_ending(ending)
        end_reply(completion, "default")
        message = Message.objects.get(pk=live.pk)

        assert completion.payload == message.end_payload()
        assert (completion.payload.get("output"), completion.payload.get("output_error", "")) == (
            message.output,
            message.output_error,
        )
        return message

    def test_a_valid_one(self):
        assert self.check(COMPLETED, output_name="a", output_error="").output == {"a": 1}

    def test_one_with_an_error(self):
        message = self.check(COMPLETED, output_name="a", output_error="output_invalid")

        assert (message.output, message.output_error) == (None, "output_invalid")

    def test_one_that_was_completed_and_could_not_be_saved(self):
        for error in ("", "output_invalid"):
            broken = endings.broken("not_saved", received=True)
            message = self.check(broken, output_name="a", output_error=error)

            assert (message.output, message.output_error, message.can_continue) == (None, "", False)

    def test_a_text_has_neither(self):
        message = self.check(COMPLETED)

        assert message.output is None
        assert "output" not in message.end_payload()
