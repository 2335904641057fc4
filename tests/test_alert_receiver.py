"""docs/examples/alert_receiver.py: prints each alert once, and nothing that the site has not signed."""

import base64
import os
import subprocess
import sys

import pytest
from django.conf import settings
from django.test import SimpleTestCase, override_settings
from django.utils import timezone

from streaming_chat.alerts import webhook
from streaming_chat.models import Alert

from .alerts.receiver import SECRET

EXAMPLE = settings.BASE_DIR / "docs" / "examples" / "alert_receiver.py"
OTHER = f"whsec_{base64.b64encode(b'o' * 32).decode()}"


@pytest.mark.slow
class AlertReceiverTests(SimpleTestCase):
    def setUp(self):
        self.process = subprocess.Popen(
            [sys.executable, str(EXAMPLE), "0"],
            env={**os.environ, "SECRET": SECRET},
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(self.end)
        self.url = self.process.stdout.readline().split()[-1]

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def send(self, alert, secret=SECRET):
        with override_settings(STREAMING_CHAT_ALERT_WEBHOOK_URL=self.url, STREAMING_CHAT_ALERT_WEBHOOK_SECRET=secret):
            webhook.send(alert)

    def test_each_alert_is_printed_once(self):
        first, second = (Alert(kind="label", data={"label": name}, created_at=timezone.now()) for name in ("A", "B"))
        with self.assertRaisesMessage(webhook.DeliveryError, "401"):
            self.send(first, OTHER)
        # The second time as if the answer had been lost.
        for alert in (first, first, second):
            self.send(alert)

        assert self.process.stdout.readline() == 'alert.label {"label": "A"}\n'
        assert self.process.stdout.readline() == 'alert.label {"label": "B"}\n'
