"""The webhook: signed, never redirected, and accepted only by a status of success."""

import base64
import socket

import pytest
from django.test import SimpleTestCase, override_settings
from django.utils import timezone

from streaming_chat.alerts import webhook
from streaming_chat.alerts.webhook import DeliveryError, is_address, key_of, sign
from streaming_chat.models import Alert

from .receiver import SECRET, Receiver


def alert(**data: str) -> Alert:
    """Return an unsaved alert."""
    return Alert(kind="label", data=data, created_at=timezone.now())


class SignatureTests(SimpleTestCase):
    def test_the_example_of_the_libraries_of_the_specification(self):
        """https://github.com/standard-webhooks/standard-webhooks, libraries/python/tests/test_webhooks.py."""
        secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

        signature = sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', secret)

        assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

    def test_secrets_that_sign_nothing(self):
        for secret in ("", "whsec_", "whsec_?", "whsec_c2hvcnQ=", SECRET.removeprefix("whsec_"), "whsec_" + "A" * 120):
            with self.subTest(secret), self.assertRaises(ValueError):
                key_of(secret)
        assert key_of(SECRET) == b"k" * 32


class AddressTests(SimpleTestCase):
    def test_addresses(self):
        for url in ("https://example.com/alerts", "http://127.0.0.1:8001"):
            assert is_address(url)
        for url in (
            "",
            "example.com",
            "ftp://example.com",
            "file:///etc/passwd",
            "https://u:p@example.com",
            "https://x:y",
        ):
            with self.subTest(url):
                assert not is_address(url)


@pytest.mark.slow
class SendTests(SimpleTestCase):
    def send(self, receiver: Receiver, sent: Alert | None = None) -> None:
        with override_settings(**receiver.settings):
            webhook.send(sent or alert())

    def test_what_it_says(self):
        sent = alert(label="Legal", conversation="c")
        with Receiver() as receiver:
            self.send(receiver, sent)

        [request] = receiver.requests
        assert request.id == str(sent.pk)
        assert request.body == {
            "type": "alert.label",
            "timestamp": sent.created_at.isoformat(),
            "data": {"label": "Legal", "conversation": "c"},
        }
        assert request.headers["content-type"] == "application/json"

    def test_a_receiver_that_fails(self):
        for status in (400, 404, 500, 302):
            with self.subTest(status), Receiver(status=status) as receiver:
                with self.assertRaisesMessage(DeliveryError, f"the receiver answered {status}"):
                    self.send(receiver)

                assert len(receiver.requests) == 1

    def test_a_receiver_that_is_not_there(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        settings = {
            "STREAMING_CHAT_ALERT_WEBHOOK_URL": f"http://127.0.0.1:{port}/",
            "STREAMING_CHAT_ALERT_WEBHOOK_SECRET": SECRET,
        }
        with override_settings(**settings), self.assertRaisesMessage(DeliveryError, "could not be reached"):
            webhook.send(alert())

    def test_another_secret_is_refused_by_the_receiver(self):
        other = f"whsec_{base64.b64encode(b'o' * 32).decode()}"
        with Receiver() as receiver:
            changed = override_settings(**receiver.settings | {"STREAMING_CHAT_ALERT_WEBHOOK_SECRET": other})
            with changed, self.assertRaisesMessage(DeliveryError, "the receiver answered 401"):
                webhook.send(alert())
