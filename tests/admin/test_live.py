"""Staff follow a reply while it is written, and stop it, from the admin."""

from django.test import TestCase
from django.urls import reverse

from streaming_chat.models import AccessRecord, Message
from tests.factories import make_conversation, make_message, make_reply, make_staff, make_user
from tests.native import error_of
from tests.provider_server import Gate, Script
from tests.servers import Browser, ServerTestCase, held, outcome, received_text, wait_until
from tests.test_processes import TwoProcesses

READER = ("view_conversation", "view_transcript")
DELTAS = ("Hel", "lo ", "wörld")


def address(message, action):
    return reverse(f"admin:streaming_chat_conversation_{action}", args=[message.conversation_id, message.pk])


class FollowTests(ServerTestCase):
    def setUp(self):
        super().setUp()
        self.staff = Browser(self.server.port, make_staff("reviewer", *READER))
        self.addCleanup(self.staff.close)

    def begin(self, *gates):
        """Return a live reply that has sent its first words, and its owner's reading of it."""
        self.provider.script(Script(DELTAS, gates=dict(enumerate(gates, start=1))))
        exchange = self.browser.send("Hi").until_text(DELTAS[0])
        return Message.objects.get(pk=exchange.message_id), exchange

    def test_a_reply_grows_before_their_eyes(self):
        gate, other = Gate(), Gate()
        with held(gate, other):
            reply, _owner = self.begin(gate, other)
            watching = self.staff.get(address(reply, "follow")).until_text("Hel")
            gate.open()
            watching.until_text("Hello ")
            other.open()
            watching.rest()

        assert watching.text == "".join(DELTAS)
        assert [frame.event for frame in watching.endings] == ["done"]
        assert watching.headers["cache-control"] == "no-store, no-cache, no-transform"

    def test_they_go_on_where_they_were(self):
        gate, other = Gate(), Gate()
        with held(gate, other):
            reply, _owner = self.begin(gate, other)
            before = self.staff.get(address(reply, "follow")).until_text("Hel")
            gate.open()
            after = self.staff.get(f"{address(reply, 'follow')}?after={before.frames[-1].id}").until_text("lo ")
            other.open()
            after.rest()

        assert after.text == "lo wörld"

    def test_watching_does_not_keep_a_deserted_reply(self):
        gate, other = Gate(), Gate()
        with held(gate, other), self.settings(STREAMING_CHAT_DISCONNECT_GRACE_SECONDS=0):
            reply, owner = self.begin(gate, other)
            watching = self.staff.get(address(reply, "follow")).until_text("Hel")
            owner.leave("close")
            watching.rest()

        assert outcome(self.ended(reply.pk)) == ("stopped", "disconnect", "")
        assert [frame.event for frame in watching.endings] == ["stopped"]

    def test_each_time_is_on_record_before_a_word_is_sent(self):
        gate = Gate()
        with held(gate):
            reply, _owner = self.begin(gate)
            self.staff.get(address(reply, "follow")).until(lambda: True)
            wait_until(AccessRecord.objects.exists)
            record = AccessRecord.objects.get()

        assert (record.kind, record.by_name) == ("follow", "reviewer")
        assert (record.conversation, record.message) == (reply.conversation_id, reply.pk)

    def test_they_stop_it_and_keep_all_that_came(self):
        stopper = Browser(self.server.port, make_staff("stopper", *READER, "stop_reply"))
        self.addCleanup(stopper.close)
        gate = Gate()
        with held(gate):
            reply, owner = self.begin(gate)
            answer = stopper.post(address(reply, "stop"))

            assert answer.status == 302
            assert answer.headers["location"].endswith(f"?message={reply.pk}#m-{reply.pk}")
            owner.rest()

        ended = self.ended(reply.pk)
        assert outcome(ended) == ("stopped", "staff", "")
        assert ended.text == received_text(ended) == "Hel"
        assert [frame.event for frame in owner.endings] == ["stopped"]
        assert [(record.kind, record.message) for record in AccessRecord.objects.all()] == [("stop", reply.pk)]


class ElsewhereTests(TwoProcesses):
    """The reply is written by another process than the one that staff ask."""

    def test_a_reply_grows_and_is_not_kept(self):
        staff = Browser(self.other.port, make_staff("reviewer", *READER))
        self.addCleanup(staff.close)
        gate = Gate()
        with held(gate), self.settings(STREAMING_CHAT_DISCONNECT_GRACE_SECONDS=0):
            self.provider.script(Script(DELTAS, gates={1: gate}))
            owner = self.browser.send("Hi").until_text("Hel")
            reply = Message.objects.get(pk=owner.message_id)
            watching = staff.get(address(reply, "follow")).until_text("Hel")
            owner.leave("close")
            watching.rest()

        assert [frame.event for frame in watching.endings] == ["stopped"]
        assert outcome(self.ended(reply.pk)) == ("stopped", "disconnect", "")

    def test_it_is_stopped(self):
        staff = Browser(self.other.port, make_staff("stopper", "view_conversation", "stop_reply"))
        self.addCleanup(staff.close)
        gate = Gate()
        with held(gate):
            self.provider.script(Script(DELTAS, gates={1: gate}))
            owner = self.browser.send("Hi").until_text("Hel")
            reply = Message.objects.get(pk=owner.message_id)
            assert staff.post(address(reply, "stop")).status == 302
            owner.rest()

        assert outcome(self.ended(reply.pk)) == ("stopped", "staff", "")


class PermissionTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        conversation = make_conversation(make_user("owner"))
        cls.question = make_message(conversation)
        cls.reply = make_reply(conversation, "Rosebud", parent=cls.question)
        cls.elsewhere = make_reply(make_conversation(make_user("other")))

    def as_staff(self, *permissions):
        self.client.force_login(make_staff("-".join(permissions) or "none", *permissions))

    def test_to_follow_takes_both(self):
        for permissions in ((), ("view_conversation",), ("view_transcript",), ("stop_reply", "view_conversation")):
            with self.subTest(permissions):
                self.as_staff(*permissions)
                response = self.client.get(address(self.reply, "follow"))

                assert (response.status_code, error_of(response)["code"]) == (403, "forbidden")
        self.as_staff(*READER)
        assert b"Rosebud" in b"".join(self.client.get(address(self.reply, "follow")))

    def test_nobody_else_follows(self):
        for user in (None, self.reply.conversation.owner):
            self.client.logout()
            if user:
                self.client.force_login(user)
            response = self.client.get(address(self.reply, "follow"))

            assert (response.status_code, error_of(response)["code"]) == (401, "not_signed_in")
        assert not AccessRecord.objects.exists()

    def test_what_is_no_reply_of_the_conversation_is_not_found(self):
        self.as_staff(*READER, "stop_reply")
        foreign = Message(pk=self.elsewhere.pk, conversation_id=self.reply.conversation_id)
        for message in (self.question, foreign):
            assert self.client.get(address(message, "follow")).status_code == 404
            assert self.client.post(address(message, "stop")).status_code == 404
