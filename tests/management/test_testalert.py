"""manage.py testalert: what each channel answered, and what to do if none is configured."""

from io import StringIO

import pytest
from django.core import mail
from django.core.management import CommandError, call_command
from django.test import SimpleTestCase, override_settings

from streaming_chat.alerts.webhook import key_of
from streaming_chat.signals import alert_raised
from tests.alerts.receiver import Receiver


@pytest.mark.slow
class TestAlertTests(SimpleTestCase):
    def run_command(self, *arguments: str) -> str:
        self.out = StringIO()
        call_command("testalert", *arguments, stdout=self.out)
        return self.out.getvalue()

    def test_a_webhook_and_an_email(self):
        with (
            Receiver() as receiver,
            override_settings(**receiver.settings, STREAMING_CHAT_ALERT_EMAILS=["a@example.org"]),
        ):
            said = self.run_command()

            assert receiver.accepted[0]["type"] == "alert.test"
        assert said == "signal: 0 receivers, 0 failed\nwebhook: accepted\nemail: accepted\n"
        assert "This is a test." in mail.outbox[0].body

    def test_what_fails_is_named_and_the_rest_is_sent(self):
        with Receiver(status=500) as receiver:
            configured = override_settings(**receiver.settings, STREAMING_CHAT_ALERT_EMAILS=["a@example.org"])
            with configured, self.assertRaisesMessage(CommandError, "The test alert was not accepted by: webhook."):
                self.run_command()
            # Nothing is retried.
            assert len(receiver.requests) == 1
        assert "webhook: the receiver answered 500" in self.out.getvalue()
        assert len(mail.outbox) == 1

    def test_receivers_of_the_signal(self):
        received = []

        def receive(sender, signal, **said):
            received.append(said)

        def fail(sender, **said):
            raise ZeroDivisionError

        alert_raised.connect(receive)
        alert_raised.connect(fail)
        self.addCleanup(alert_raised.disconnect, receive)
        self.addCleanup(alert_raised.disconnect, fail)
        with self.assertRaisesMessage(CommandError, "signal"), self.assertLogs("django.dispatch", "ERROR"):
            self.run_command()

        assert [said["kind"] for said in received] == ["test"]
        assert "signal: 2 receivers, 1 failed" in self.out.getvalue()

    def test_nothing_is_configured(self):
        assert "Neither STREAMING_CHAT_ALERT_WEBHOOK_URL nor STREAMING_CHAT_ALERT_EMAILS is set." in self.run_command()

    def test_a_new_secret(self):
        one, other = self.run_command("--new-secret").strip(), self.run_command("--new-secret").strip()

        assert one != other
        assert len(key_of(one)) == 32
