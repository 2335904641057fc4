"""Receives the alerts of a chat, and prints each once: SECRET=whsec_… python alert_receiver.py 8001

The site's settings are STREAMING_CHAT_ALERT_WEBHOOK_URL = "http://127.0.0.1:8001/" and the same
STREAMING_CHAT_ALERT_WEBHOOK_SECRET. A library of https://www.standardwebhooks.com does the same as `is_genuine`.
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

KEY = base64.b64decode(os.environ["SECRET"].removeprefix("whsec_"))
# An older request may have been recorded and sent again.
MAX_AGE_SECONDS = 300
# Keep these in your database if they must outlive a restart.
seen = set()


def is_genuine(headers, body):
    """Return whether the site has signed this request, a moment ago."""
    timestamp = headers.get("webhook-timestamp", "")
    if not timestamp.isdecimal() or abs(time.time() - int(timestamp)) > MAX_AGE_SECONDS:
        return False
    signed = f"{headers.get('webhook-id', '')}.{timestamp}.".encode() + body
    expected = base64.b64encode(hmac.digest(KEY, signed, hashlib.sha256)).decode()
    # Several, while the secret is changed.
    signatures = headers.get("webhook-signature", "").split()
    return any(hmac.compare_digest(f"v1,{expected}", signature) for signature in signatures)


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        genuine = is_genuine(self.headers, body)
        if genuine and self.headers["webhook-id"] not in seen:
            alert = json.loads(body)
            print(alert["type"], json.dumps(alert["data"]), flush=True)
            # Only now: if this program fails before, the site sends the alert again.
            seen.add(self.headers["webhook-id"])
        self.send_response(204 if genuine else 401)
        self.end_headers()

    def log_message(self, *args):
        pass


if __name__ == "__main__":
    server = HTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver)
    print(f"Waiting for alerts at http://127.0.0.1:{server.server_port}/", flush=True)
    server.serve_forever()
