"""Sending: retried until it is accepted, once by whichever process, and each channel by itself."""

import threading
from datetime import timedelta
from decimal import Decimal

import pytest
from django.core import mail
from django.core.mail.backends.base import BaseEmailBackend
from django.db import connections
from django.db.models.functions import Now
from django.test import TransactionTestCase, override_settings

from streaming_chat.alerts import outbox, sender
from streaming_chat.models import Alert
from tests.factories import make_conversation, make_reply
from tests.servers import ProcessServer, wait_until

from .receiver import Receiver

EMAILS = {"STREAMING_CHAT_ALERT_EMAILS": ["ops@example.org", "boss@example.org"]}


class BrokenBackend(BaseEmailBackend):
    """A site's mail server that refuses everything, with what it was sent in its error."""

    def send_messages(self, email_messages):
        raise ValueError(f"refused: {email_messages[0].body}")


def make_alert(key="one", kind="label", **data) -> Alert:
    """Save an alert that is due, without telling this process's thread."""
    return Alert.objects.create(key=key, kind=kind, data=data, pending=outbox.channels(), next_attempt_at=Now())


def let_time_pass() -> None:
    """Make every alert that waits due."""
    Alert.objects.exclude(next_attempt_at=None).update(next_attempt_at=Now() - timedelta(seconds=1))


class DeliveryTests(TransactionTestCase):
    def test_a_receiver_that_fails_twice_gets_each_alert_once(self):
        with Receiver(failures=2) as receiver, override_settings(**receiver.settings):
            make_alert("one")
            make_alert("two")
            with self.assertLogs("streaming_chat", "WARNING") as logs:
                for _try in range(5):
                    sender.deliver_due()
                    let_time_pass()

            assert len(receiver.requests) == 6
            assert len(receiver.accepted) == 2
            assert len({request.id for request in receiver.requests if request.status == 204}) == 2
        assert "the receiver answered 503" in logs.output[0]
        assert list(Alert.objects.values_list("pending", "attempts", "next_attempt_at")) == [([], 3, None)] * 2

    def test_the_next_attempt_is_later_each_time(self):
        delays = []
        with Receiver(status=500) as receiver, override_settings(**receiver.settings):
            alert = make_alert()
            with self.assertLogs("streaming_chat", "WARNING") as logs:
                while True:
                    sender.deliver_due()
                    alert.refresh_from_db()
                    if alert.next_attempt_at is None:
                        break
                    left = Alert.objects.values_list("next_attempt_at", flat=True).get() - alert.created_at
                    delays.append(round(left.total_seconds() / 5))
                    let_time_pass()

        assert delays == sorted(delays)
        assert (len(delays), alert.attempts, alert.pending) == (8, 9, ["webhook"])
        assert logs.output[-1].endswith("is given up after 9 attempts.")

    def test_it_is_not_sent_before_it_is_due(self):
        with Receiver(failures=1) as receiver, override_settings(**receiver.settings):
            make_alert()
            with self.assertLogs("streaming_chat", "WARNING"):
                sender.deliver_due()
            sender.deliver_due()

            assert len(receiver.requests) == 1

    def test_several_at_once_send_it_once(self):
        """As several processes do."""
        with Receiver() as receiver, override_settings(**receiver.settings):
            keys = [str(number) for number in range(5)]
            for key in keys:
                make_alert(key)
            threads = [threading.Thread(target=self.deliver) for _thread in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

            assert sorted(request.status for request in receiver.requests) == [204] * len(keys)
            assert len({request.id for request in receiver.requests}) == len(keys)

    def deliver(self):
        try:
            sender.deliver_due()
        finally:
            connections.close_all()

    def test_an_alert_of_a_process_that_died_is_sent_by_another(self):
        with Receiver() as receiver, override_settings(**receiver.settings):
            make_alert()
            assert sender._take("default") is not None
            sender.deliver_due()
            assert receiver.requests == []

            let_time_pass()
            sender.deliver_due()
            assert len(receiver.accepted) == 1


@override_settings(**EMAILS)
class EmailTests(TransactionTestCase):
    def put(self, kind, **data):
        make_alert(kind, kind, **data)
        sender.deliver_due()

    def test_each_kind_says_what_happened(self):
        money = {"day": "2026-11-30", "spent": "12.00", "budget": "10"}
        told = {
            "error_rate": (
                {"provider": "openai", "percent": 40.0, "minutes": 10},
                "40.0% of the replies of the provider",
            ),
            "site_budget": (money, "The site has spent $12.00 today."),
            "user_budget": ({"owner": "u:5", **money}, "The owner u:5 has spent $12.00 today."),
            "label": ({"label": "Legal", "message": "m1"}, "the label “Legal”"),
            "feedback": ({"message": "m1"}, "rated bad"),
            "test": ({}, "This is a test."),
        }
        for kind, (data, sentence) in told.items():
            with self.subTest(kind):
                self.put(kind, **data)
                email = mail.outbox[-1]

                assert email.to == EMAILS["STREAMING_CHAT_ALERT_EMAILS"]
                assert email.subject.startswith("Chat alert: ")
                assert sentence in email.body
                assert all(str(value) in email.body for value in data.values())
        assert set(told) == set(Alert.Kind.values)

    @override_settings(LANGUAGE_CODE="de")
    def test_it_is_in_the_language_of_the_site(self):
        self.put("feedback", message="m1")

        assert "schlecht bewertet" in mail.outbox[0].body

    def test_a_mail_server_that_fails_holds_up_no_webhook_and_does_not_repeat_it(self):
        with Receiver() as receiver, override_settings(**receiver.settings, EMAIL_BACKEND=f"{__name__}.BrokenBackend"):
            with self.assertLogs("streaming_chat", "WARNING") as logs:
                self.put("feedback", message="m1")
                let_time_pass()
                sender.deliver_due()

            assert len(receiver.accepted) == 1
            assert Alert.objects.get().pending == ["email"]
        # What a mail server says may quote what it was sent.
        assert "m1" not in "".join(logs.output)
        assert "ValueError" in logs.output[0]
        let_time_pass()
        sender.deliver_due()

        assert len(mail.outbox) == 1


class ThreadTests(TransactionTestCase):
    def test_a_new_alert_is_sent_at_once(self):
        with Receiver() as receiver, override_settings(**receiver.settings):
            outbox.put("label", "one", {"label": "Legal"})
            wait_until(lambda: receiver.accepted)
            wait_until(lambda: Alert.objects.filter(pending=[], next_attempt_at=None).exists())

    def test_thresholds_are_checked_when_a_reply_has_ended(self):
        make_reply(make_conversation(), "x", cost=Decimal(2))
        with Receiver() as receiver, override_settings(**receiver.settings, STREAMING_CHAT_ALERT_DAILY_BUDGET=1):
            sender.sender.check_soon()
            wait_until(lambda: receiver.accepted, 30)

            assert receiver.accepted[0]["data"]["spent"] == "2.00"
            wait_until(lambda: Alert.objects.filter(pending=[], next_attempt_at=None).exists())


@pytest.mark.slow
class ProcessTests(TransactionTestCase):
    """Two processes, and a restart between the second failure and the attempt that is accepted."""

    def test_each_alert_arrives_once(self):
        labels = ["one", "three", "two"]
        with Receiver(failures=2) as receiver:
            with override_settings(**receiver.settings):
                for label in labels:
                    make_alert(label, label=label)
            with ProcessServer(receiver.settings) as one, ProcessServer(receiver.settings) as other:
                # The first request starts the thread, which finds what was left; five seconds later, it tries again.
                assert one.is_answering()
                assert other.is_answering()
                wait_until(lambda: len(receiver.requests) == 6, 60)
                one.kill()
                other.kill()
            let_time_pass()
            with ProcessServer(receiver.settings) as one, ProcessServer(receiver.settings) as other:
                assert one.is_answering()
                assert other.is_answering()
                wait_until(lambda: not Alert.objects.exclude(pending=[]).exists(), 60)

            assert sorted(request.status for request in receiver.requests) == [204] * 3 + [503] * 6
            assert sorted(body["data"]["label"] for body in receiver.accepted) == labels
