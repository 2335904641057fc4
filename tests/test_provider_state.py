"""A provider's opaque state, from its bytes to the row: nothing but the next call of the provider ever sees it."""

import json
from io import StringIO

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.test import Client

from streaming_chat.exports.markdown import export_markdown
from streaming_chat.exports.transcripts import FORMATS, export
from streaming_chat.models import Conversation, Message, ProviderState
from streaming_chat.privacy.redactions import redact
from streaming_chat.providers import get_provider

from .factories import make_staff
from .provider_server import Script
from .servers import ServerTestCase

CANARY = "EqoBrosebud+/7f3a91=="
BLOCK = {"type": "thinking", "thinking": "Hm.", "signature": CANARY}
# What neither PostgreSQL's text nor its jsonb would take as it is.
REDACTED = {"type": "redacted_thinking", "data": f"\0\ud83d é {CANARY}"}
REPLY = (
    {"type": "message_start", "message": {"id": "msg_1", "usage": {"input_tokens": 3, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "Hm."}},
    {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "signature_delta", "signature": CANARY},
    },
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": REDACTED},
    {"type": "content_block_stop", "index": 1},
    {"type": "content_block_start", "index": 2, "content_block": {"type": "text", "text": "Yes."}},
    {"type": "content_block_stop", "index": 2},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
)
RAW = "".join(f"event: {payload['type']}\ndata: {json.dumps(payload)}\n\n" for payload in REPLY).encode()


class ProviderStateTests(ServerTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # The import of its SDK takes longer than a read may wait for, on a busy machine.
        get_provider("anthropic").prepare()

    def setUp(self):
        super().setUp()
        self.provider.by_text["Hello"] = Script(raw=RAW)
        self.exchange = self.browser.send("Hello", model="anthropic:any").rest()
        self.reply = Message.objects.get(pk=self.exchange.message_id)

    def test_it_is_kept_beside_the_reply(self):
        state = ProviderState.objects.get(message=self.reply)

        assert (self.reply.text, self.reply.status) == ("Yes.", "completed")
        assert json.loads(state.state) == [{"index": 0, "block": BLOCK}, {"index": 1, "block": REDACTED}]
        assert state.call == 0

    def test_nobody_is_shown_it(self):
        """Not the client that sent the message, nor one that follows it, nor staff, nor a file."""
        shown = [*self.shown_to_its_owner(), *self.shown_to_staff(), *self.exported()]

        assert sum(b"Yes." in found for found in shown) >= 10
        assert not [found for found in shown if CANARY.encode() in found]

    def test_redaction_removes_it(self):
        redact(self.reply.pk, make_staff("staff"))

        assert not ProviderState.objects.exists()

    def shown_to_its_owner(self):
        conversation, reply = self.reply.conversation_id, self.reply.pk
        for exchange in (self.exchange, self.browser.follow(reply).rest()):
            yield b"".join(exchange.writes)
        yield from self.pages(
            self.browser.user,
            *("api/conversations", f"api/conversations/{conversation}", f"api/conversations/{conversation}/messages"),
            *(f"c/{conversation}", f"c/{conversation}?view=plain", f"api/messages/{reply}"),
        )

    def shown_to_staff(self):
        paths = ("conversation/", "message/", f"conversation/{self.reply.conversation_id}/change/")
        root = get_user_model().objects.create_superuser("root")
        return self.pages(root, *(f"/admin/streaming_chat/{path}" for path in paths))

    def pages(self, user, *paths):
        client = Client()
        client.force_login(user)
        for path in paths:
            answer = client.get(path if path.startswith("/") else f"/chat/{path}")

            assert answer.status_code == 200, path
            yield answer.content

    def exported(self):
        for form in FORMATS.values():
            yield b"".join(chunk.data for chunk in export(Conversation.objects.all(), form()))
        yield b"".join(chunk.data for chunk in export_markdown(self.reply.conversation_id))
        out = StringIO()
        call_command("exportowner", self.browser.user.get_username(), stdout=out)
        yield out.getvalue().encode()
