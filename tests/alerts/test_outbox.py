"""Which alerts are raised: once for each thing, only if asked for, and without any text."""

import threading
from datetime import timedelta
from typing import Any

from django.db.models.functions import Now
from django.test import TestCase, override_settings
from django.urls import reverse

from streaming_chat.accounts.owners import Owner, user_key
from streaming_chat.alerts import outbox
from streaming_chat.models import Alert
from streaming_chat.privacy import erasures
from streaming_chat.review.verdicts import VerdictChange, save_verdicts
from streaming_chat.signals import alert_raised
from tests.factories import make_conversation, make_reply, make_staff, make_user
from tests.provider_server import TIMEOUT

LABELS = {"STREAMING_CHAT_REVIEW_LABELS": ["Legal", "Tone"], "STREAMING_CHAT_ALERT_LABELS": ["Legal"]}


class PutTests(TestCase):
    def setUp(self):
        self.received: list[dict[str, Any]] = []
        self.has_come = threading.Event()
        alert_raised.connect(self.receive)
        self.addCleanup(alert_raised.disconnect, self.receive)

    def receive(self, sender, signal, **said):
        self.received.append(said)
        self.has_come.set()

    def test_a_key_is_raised_once(self):
        with self.captureOnCommitCallbacks(execute=True):
            assert outbox.put("test", "one", {"n": 1})
            assert not outbox.put("test", "one", {"n": 2})
        assert self.has_come.wait(TIMEOUT)
        alert = Alert.objects.get()

        assert self.received == [{"alert": alert.pk, "kind": "test", "data": {"n": 1}}]

    def test_without_a_channel_there_is_the_signal_alone(self):
        outbox.put("test", "one", {})
        alert = Alert.objects.get()

        assert (alert.pending, alert.next_attempt_at) == ([], None)

    @override_settings(STREAMING_CHAT_ALERT_WEBHOOK_URL="https://example.com", STREAMING_CHAT_ALERT_EMAILS=["a@b.org"])
    def test_with_channels_it_waits_to_be_sent(self):
        outbox.put("test", "one", {})
        alert = Alert.objects.get()

        assert alert.pending == ["webhook", "email"]
        assert alert.next_attempt_at is not None

    def test_old_alerts_are_removed_unless_they_wait(self):
        for key in ("waiting", "done", "recent"):
            outbox.put("test", key, {})
        Alert.objects.exclude(key="recent").update(created_at=Now() - timedelta(days=91))
        Alert.objects.filter(key="waiting").update(next_attempt_at=Now() + timedelta(days=1))
        outbox.put("test", "new", {})

        assert set(Alert.objects.values_list("key", flat=True)) == {"waiting", "recent", "new"}


class FeedbackTests(TestCase):
    def setUp(self):
        self.client.force_login(make_user())
        self.reply = make_reply(make_conversation(), "A private text")
        self.url = reverse("streaming_chat:api-feedback", args=[self.reply.pk])

    def rate(self, value):
        body = {"value": value, "comment": "A private comment"}
        return self.client.put(self.url, body, content_type="application/json")

    @override_settings(STREAMING_CHAT_ALERT_ON_BAD_FEEDBACK=True)
    def test_a_thumbs_down_once_for_each_reply(self):
        for value in (1, -1, 1, -1):
            assert self.rate(value).status_code == 200
        alert = Alert.objects.get()

        assert (alert.kind, alert.data) == (
            "feedback",
            {"conversation": str(self.reply.conversation_id), "message": str(self.reply.pk)},
        )
        assert "private" not in str(Alert.objects.values_list())

    @override_settings(STREAMING_CHAT_ALERT_ON_BAD_FEEDBACK=True)
    def test_a_thumbs_up_is_none(self):
        self.rate(1)

        assert not Alert.objects.exists()

    def test_nobody_has_asked_for_it(self):
        self.rate(-1)

        assert not Alert.objects.exists()


@override_settings(**LABELS)
class LabelTests(TestCase):
    def setUp(self):
        self.conversation = make_conversation()
        self.reply = make_reply(self.conversation)

    def give(self, name, labels, message):
        save_verdicts(self.conversation.pk, make_staff(name), {message: VerdictChange("bad", labels)})

    def test_a_label_of_a_message_once(self):
        self.give("rita", ["Tone", "Legal"], self.reply.pk)
        self.give("rita", [], self.reply.pk)
        self.give("rita", ["Legal"], self.reply.pk)
        self.give("ron", ["Legal"], self.reply.pk)
        alert = Alert.objects.get()

        assert (alert.kind, alert.data) == (
            "label",
            {"label": "Legal", "conversation": str(self.conversation.pk), "message": str(self.reply.pk)},
        )

    def test_a_label_of_a_conversation(self):
        self.give("rita", ["Legal"], None)

        assert Alert.objects.get().data == {"label": "Legal", "conversation": str(self.conversation.pk)}

    def test_other_labels(self):
        self.give("rita", ["Tone"], self.reply.pk)

        assert not Alert.objects.exists()


class ErasureTests(TestCase):
    def test_what_names_an_erased_owner_goes(self):
        user = make_user()
        owner = Owner(user, user_key(user))
        for key in (owner.key, "u:0"):
            outbox.put("user_budget", f"user_budget:2026-11-30:{key}", {"owner": key}, owner_key=key)
        list(erasures.erase(owner))

        assert list(Alert.objects.values_list("owner_key", flat=True)) == ["u:0"]
