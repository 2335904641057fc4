"""schemathesis makes requests of all kinds, valid and not, from openapi.json: no answer is a fault or undescribed."""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from streaming_chat.asgi import get_asgi_application
from streaming_chat.views.api.openapi import document

from .factories import make_conversation, make_reply, make_token, make_user
from .servers import ServerTestCase, ThreadServer

pytestmark = [pytest.mark.once, pytest.mark.slow]

CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
]
EXAMPLES = 5


# Otherwise the work of so many requests is soon more than one owner's share.
@override_settings(STREAMING_CHAT_MAX_LIVE_REPLIES_PER_OWNER=1000)
class SchemathesisTests(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.user = self.browser.user
        replies = [make_reply(make_conversation(self.user), text) for text in ("One", "Two", "Three")]
        others = make_reply(make_conversation(make_user("bo")))
        self.messages = [str(reply.pk) for reply in [*replies, replies[0].parent, others]]
        self.conversations = [str(reply.conversation_id) for reply in [*replies, others]]

    def test_no_answer_is_a_fault_or_undescribed(self):
        server = self.enterContext(ThreadServer(get_asgi_application()))
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        (folder / "openapi.json").write_text(json.dumps(self.described()))
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "run", "openapi.json", "--no-color", "--warnings", "off"),
            *("--url", f"http://127.0.0.1:{server.port}/chat", "--request-timeout", "20"),
            # No other authentication: tests/test_token_matrix.py and tests/test_owner_matrix.py are about that.
            *("--header", f"Authorization: Bearer {make_token(self.user)}"),
            *("--generation-with-security-parameters", "false"),
            *("--phases", "coverage,fuzzing", "--checks", ",".join(CHECKS), "--continue-on-failure"),
            *("--max-examples", str(EXAMPLES), "--seed", "1", "--no-shrink", "--generation-database", "none"),
            *("--suppress-health-check", "all"),
        ]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)

        assert done.returncode == 0, done.stdout + done.stderr
        assert re.search(r"Operations: +(\d+) selected / \1 total", done.stdout), done.stdout

    def described(self) -> dict[str, Any]:
        """Return the document, with ids of rows that are there, and of one that is not."""
        described = document()
        ids = {"message_id": self.messages, "conversation_id": self.conversations}
        for operations in described["paths"].values():
            for operation in operations.values():
                for parameter in operation["parameters"]:
                    if parameter["name"] in ids and parameter["in"] == "path":
                        parameter["schema"]["enum"] = [*ids[parameter["name"]], "00000000-0000-7000-8000-000000000000"]
        return described
