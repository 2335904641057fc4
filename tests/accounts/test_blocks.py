"""Blocked owners: every send of every API is refused, all else goes on, and a reply that is being written ends."""

from django.test import override_settings

from streaming_chat.accounts.permissions import Permissions
from streaming_chat.exceptions import APIError
from streaming_chat.models import AccessRecord, BlockedOwner, Conversation, Message
from streaming_chat.privacy.blocking import block, unblock
from streaming_chat.quotas import Quota
from streaming_chat.shortcuts import send_message
from tests.factories import make_conversation, make_reply, make_staff, make_token, make_user
from tests.native import Api, ApiTestCase, code_of
from tests.provider_server import Gate, Script
from tests.servers import ServerTestCase, held, outcome

TURNS = [{"role": "user", "content": "Hi"}]


class BlockTests(ApiTestCase):
    def setUp(self):
        super().setUp()
        self.conversation = make_conversation()
        self.reply = make_reply(self.conversation, "Yes, ", status="stopped", end_reason="user")
        self.staff = make_staff("staff")

    def block(self, owner_key=""):
        block(owner_key or self.conversation.owner_key, "Spam", self.staff)

    def sends(self):
        """Return the path, the body and the headers of each request that sends something."""
        of = f"api/conversations/{self.conversation.pk}"
        parts = [{"id": "m", "role": "user", "parts": [{"type": "text", "text": "Hi"}]}]
        bearer = {"Authorization": f"Bearer {make_token()}"}
        return [
            ("api/messages", {"content": "Hi"}, {}),
            (f"{of}/messages", {"content": "Hi"}, {}),
            (f"{of}/messages", {"content": "Hi", "stream": False}, {}),
            ("api/conversations", {}, {}),
            (f"api/messages/{self.reply.pk}/regenerate", {}, {}),
            (f"api/messages/{self.reply.pk}/continue", {}, {}),
            ("api/chat", {"messages": TURNS}, {}),
            ("ai/chat", {"id": "mine", "messages": parts}, {}),
            ("ai/chat", {"id": str(self.conversation.pk), "trigger": "regenerate-message", "messages": parts}, {}),
            ("ai/ag_ui", {"threadId": "t", "runId": "r", "messages": [{"id": "m", **TURNS[0]}]}, {}),
            ("v1/chat/completions", {"model": "scripted:model", "messages": TURNS}, bearer),
            ("api/messages", {"content": "Hi"}, bearer),
        ]

    def test_every_send_is_refused_with_a_code_of_its_own(self):
        self.block()
        before = list(Message.objects.values_list("pk", flat=True))
        for path, body, headers in self.sends():
            with self.subTest(path, body=body):
                response = self.api.post(path, body, headers=headers)

                assert (response.status_code, code_of(response)) == (403, "blocked")
        assert list(Message.objects.values_list("pk", flat=True)) == before
        assert Conversation.objects.count() == 1
        assert self.provider.calls == []

    def test_the_plain_form_says_so_and_keeps_the_text(self):
        self.block()
        form = "application/x-www-form-urlencoded"
        response = self.api.client.post("/chat/", "content=My+question", content_type=form)

        self.assertContains(response, "have blocked you from sending messages", status_code=403)
        self.assertContains(response, "My question", status_code=403)

    def test_python_code_is_refused_too(self):
        self.block()
        with self.assertRaises(APIError) as raised:
            send_message(self.user, "Hi")

        assert raised.exception.code == "blocked"

    def test_the_reason_is_not_told(self):
        self.block()

        self.assertNotContains(self.api.post("api/messages", {"content": "Hi"}), "Spam", status_code=403)

    def test_reading_and_deleting_go_on(self):
        self.block()
        path = f"api/conversations/{self.conversation.pk}"

        assert self.api.get("api/conversations").status_code == 200
        assert self.api.get(f"{path}/messages").status_code == 200
        assert self.api.get(f"{path}/export?format=json").status_code == 200
        assert self.api.delete(path).status_code == 204

    def test_a_request_that_was_answered_before_is_answered_alike(self):
        first = self.api.send(client_id="one").start["message"]
        self.block()

        assert self.api.send(client_id="one").start["message"] == first

    def test_others_are_not_blocked(self):
        self.block()

        assert Api(make_user("bo")).send().text == "Hello, world"

    def test_an_unknown_conversation_is_not_found_as_before(self):
        self.block()
        others = make_conversation(make_user("bo"))

        assert self.api.post(f"api/conversations/{others.pk}/messages", {"content": "Hi"}).status_code == 404

    def test_it_is_undone(self):
        self.block()
        unblock(self.conversation.owner_key, self.staff)

        assert self.api.send().text == "Hello, world"

    def test_a_second_block_replaces_the_reason(self):
        self.block()
        block(self.conversation.owner_key, "Abuse", make_staff("other"))
        blocked = BlockedOwner.objects.get()

        assert (blocked.reason, blocked.by_name) == ("Abuse", "other")

    def test_who_did_what_is_recorded_also_for_the_sites_own_code(self):
        key = self.conversation.owner_key
        self.block()
        unblock(key, "the spam filter")
        unblock(key, "the spam filter")
        found = AccessRecord.objects.order_by("pk").values_list("kind", "by_name", "by", "owner_key")

        assert list(found) == [("block", "staff", self.staff.pk, key), ("unblock", "the spam filter", None, key)]

    def test_there_is_a_reason(self):
        with self.assertRaises(ValueError):
            block(self.conversation.owner_key, " ", self.staff)
        assert not AccessRecord.objects.exists()

    def test_the_key_is_an_owners(self):
        for key in ("", "ana", "u:", "u:x", "u:999999999", f"u:0{self.staff.pk}"):
            with self.subTest(key), self.assertRaisesMessage(ValueError, "owner_key must be u:<pk>"):
                block(key, "Spam", self.staff)

        assert not AccessRecord.objects.exists()

    @override_settings(STREAMING_CHAT_PERMISSIONS={"BACKEND": f"{__name__}.BlocksBefore"})
    def test_a_block_while_the_reply_is_prepared(self):
        """What the site's own code decides takes time; the block is read with the row that is inserted."""
        assert code_of(self.api.post("api/messages", {"content": "Hi"})) == "blocked"
        assert not Message.objects.filter(conversation__title="Hi").exists()
        assert self.provider.calls == []

    @override_settings(STREAMING_CHAT_ALLOW_ANONYMOUS=True)
    def test_a_visitor(self):
        visitor = Api()
        visitor.send()
        self.block(Conversation.objects.get(owner=None).owner_key)
        response = visitor.post("api/messages", {"content": "Hi"})

        assert (response.status_code, code_of(response)) == (403, "blocked")
        assert Api().send().text == "Hello, world"


class BlocksBefore(Permissions):
    """A site whose own code runs while an owner is blocked."""

    def may_use_model(self, request, owner, model):
        block(owner.key, "Spam", owner.user)
        return True


class BlocksAfter(Quota):
    """The owner is blocked when the row of the reply is inserted, and not yet committed."""

    def plan(self, request, owner_key, *, input_tokens, output_tokens):
        return owner_key

    def reserve(self, plan, using):
        block(plan, "Spam", "the spam filter")

    def reconcile(self, reconciliations, using):
        """Nothing was counted."""


class LiveReplyTests(ServerTestCase):
    def test_a_reply_that_is_being_written_ends(self):
        gate = Gate()
        with held(gate):
            self.provider.script(Script(["Hel", "lo ", "world"], gates={2: gate}))
            exchange = self.browser.send("Hello").until_text("Hello ")
            block(f"u:{self.browser.user.pk}", "Spam", self.browser.user)
            exchange.rest()
        message = self.ended(exchange.message_id)

        assert outcome(message) == ("stopped", "staff", "")
        assert message.text == "Hello "

    @override_settings(STREAMING_CHAT_QUOTA={"BACKEND": f"{__name__}.BlocksAfter"})
    def test_a_reply_that_begins_at_that_moment_ends(self):
        """Its row was inserted before the block."""
        gate = Gate()
        with held(gate):
            self.provider.script(Script(["Hel", "lo ", "world"], gates={2: gate}))
            exchange = self.browser.send("Hello")
            exchange.rest()

        assert outcome(self.ended(exchange.message_id)) == ("stopped", "staff", "")
