"""Replies that wait for a person: nothing runs before the answer, and each answer counts once."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path

from django.db import transaction
from django.db.models.functions import Now
from django.test import override_settings

from streaming_chat.accounts.permissions import Permissions
from streaming_chat.chats.call_answers import CallAnswer, answer_for_staff, go_on
from streaming_chat.conf import conf
from streaming_chat.db.alias import live_database
from streaming_chat.db.transactions import write_transaction
from streaming_chat.engine import tool_rows
from streaming_chat.engine.recovery import recover_abandoned
from streaming_chat.engine.runner import runner
from streaming_chat.exceptions import APIError
from streaming_chat.models import Conversation, LiveReply, Message, ReplyEvent, ToolCall
from streaming_chat.notifiers import Notifier
from streaming_chat.testing import read_stream
from tests.factories import make_conversation, make_live, make_user
from tests.native import Api
from tests.provider_server import Script
from tests.servers import Browser, ThreadServer, outcome, wait_until

from . import shop
from .cases import ToolsCase, joined, kinds, results, rows, unpaired, waiting

PAY = ("pay", '{"amount": 200}')


class OnlyStaff(Permissions):
    """Owners may not answer."""

    def may_answer(self, request, owner, conversation):
        return False


class HoldingNotifier(Notifier):
    """Holds the thread that has just committed that a reply waits, once."""

    begun, released = threading.Event(), threading.Event()

    def notify_on_commit(self, using, message_ids):
        transaction.on_commit(partial(self.hold, using, message_ids), using=using)

    def hold(self, using, message_ids):
        is_waiting = Message.objects.using(using).filter(pk__in=message_ids, status="waiting").exists()
        if is_waiting and not self.begun.is_set():
            self.begun.set()
            self.released.wait(20)


class Unsure(Permissions):
    """It raises an error where it could return False."""

    def may_answer(self, request, owner, conversation):
        raise APIError(403, "forbidden")


class ApprovalCase(ToolsCase):
    def begin(self, *calls, answer="Paid."):
        """Send, and return the reply once it waits, and the exchange that follows it."""
        self.provider.script(Script(["I pay."], tool_calls=list(calls or [PAY])), Script([answer]))
        self.exchange = self.browser.send("Pay", model="openai:any")
        self.exchange.until(lambda: self.exchange.frames and self.exchange.frames[-1].event == "approval")
        # A client may answer at once: the question is saved before anybody sees it.
        return Message.objects.get(pk=self.exchange.message_id, status="waiting")

    def answer(self, reply, *answers, browser=None, **fields):
        answers = [{"call": "call_0", "approved": True, **fields}] if not answers else [*answers]
        return (browser or self.browser).post(f"api/messages/{reply.pk}/answers", {"answers": answers})

    def tearDown(self):
        # What is left waiting would be live for the checks of the next test.
        LiveReply.objects.filter(worker="").request_stop("user")
        recover_abandoned(LiveReply.objects.all())
        super().tearDown()


class WaitingTests(ApprovalCase):
    def test_nothing_runs_and_nothing_is_held(self):
        reply = self.begin()
        live = LiveReply.objects.get()

        assert (live.worker, live.slot, live.stop) == ("", None, None)
        assert live.expires_at > Message.objects.annotate(now=Now()).first().now + timedelta(hours=23)
        assert Conversation.objects.get().last_status == "waiting"
        assert rows(reply) == [("pay", "waiting")]
        assert shop.ledger() == []
        shown = self.browser.get(f"api/messages/{reply.pk}").json()
        assert (shown["status"], shown["parts"][-1]["kind"]) == ("waiting", "approval")
        assert shown["parts"][-1]["calls"] == [{"id": "call_0", "runs": "server", "editable": True}]

    def test_an_amount_that_needs_no_approval(self):
        self.provider.script(Script(tool_calls=[("pay", '{"amount": 5}')]), Script(["Paid."]))
        reply = self.ask()

        assert results(reply) == [("ok", "paid 5")]

    def test_the_reader_sees_the_rest(self):
        """The connection that saw the question sees what follows the answer, at the next position."""
        reply = self.begin()
        self.answer(reply).json()
        self.exchange.rest()
        reply = self.ended(reply.pk)

        assert outcome(reply) == ("completed", "stop", "")
        assert kinds(reply) == ["step", "text", "tool_call", "approval", "tool_result", "step", "text"]
        assert self.exchange.text == reply.text == "I pay.\n\nPaid."
        positions = [frame.position for frame in self.exchange.frames if frame.position]
        assert positions == sorted(positions)
        assert positions[-1] == reply.position
        assert (reply.input_tokens, reply.output_tokens) == (14, 8)
        assert Conversation.objects.get().output_tokens == 8
        assert shop.ledger() == ["pay call_0 200"]

    def test_resuming_at_every_event(self):
        """While it waits, and after it has ended: the frames before and after the resumption are the whole reply."""
        reply = self.begin()
        seen = [frame.id for frame in self.exchange.frames]
        followers = [self.browser.follow(reply.pk, last_id) for last_id in seen]
        self.answer(reply).json()
        self.ended(reply.pk)
        whole = joined(self.browser.follow(reply.pk).rest().frames)

        assert joined(self.exchange.rest().frames) == whole
        for number, follower in enumerate(followers, 1):
            assert joined([*self.exchange.frames[:number], *follower.rest().frames]) == whole
            later = self.browser.follow(reply.pk, seen[number - 1]).rest()
            assert joined([*self.exchange.frames[:number], *later.frames]) == whole

    def test_a_denial_and_its_reason(self):
        reply = self.begin(answer="Then not.")
        self.answer(reply, {"call": "call_0", "approved": False, "reason": "Too much"}).json()
        reply = self.ended(reply.pk)

        [(status, output)] = results(reply)
        assert (status, "Too much" in output) == ("denied", True)
        assert shop.ledger() == []
        assert rows(reply) == [("pay", "denied")]
        assert ToolCall.objects.get().by == self.browser.user

    def test_changed_arguments(self):
        reply = self.begin()
        refused = self.answer(reply, arguments={"amount": "much"})
        assert (refused.status, refused.json()["error"]["code"]) == (422, "invalid")
        self.answer(reply, arguments={"amount": 150}).json()
        reply = self.ended(reply.pk)

        assert shop.ledger() == ["pay call_0 150"]
        assert 'changed the arguments of this call to {"amount": 150}' in results(reply)[0][1]

    def test_calls_that_need_no_approval_run_at_once(self):
        reply = self.begin(PAY, ("clock", "{}"), ("pay", '{"amount": 300}'))

        assert rows(reply) == [("pay", "waiting"), ("clock", "ok"), ("pay", "waiting")]

        self.answer(reply, {"call": "call_2", "approved": True}).json()
        assert LiveReply.objects.get().worker == ""
        assert shop.ledger() == []

        self.answer(reply, {"call": "call_0", "approved": False}).json()
        reply = self.ended(reply.pk)

        assert [status for status, _text in results(reply)] == ["ok", "denied", "ok"]
        assert shop.ledger() == ["pay call_2 300"]
        last = [message for message in self.provider.calls[-1].body["messages"] if message["role"] == "tool"]
        assert [message["tool_call_id"] for message in last] == ["call_0", "call_1", "call_2"]


class AnswerTests(ApprovalCase):
    def test_again_and_differently(self):
        reply = self.begin()
        self.answer(reply).json()
        self.ended(reply.pk)
        again, other = self.answer(reply), self.answer(reply, {"call": "call_0", "approved": False})

        assert again.status == 200
        assert (other.status, other.json()["error"]["code"]) == (409, "already_answered")
        assert len(shop.ledger()) == 1

    def test_ten_at_once(self):
        reply = self.begin()
        with ThreadPoolExecutor(10) as pool:
            statuses = [*pool.map(lambda _number: self.answer(reply).status, range(10))]
        self.ended(reply.pk)

        assert statuses == [200] * 10
        assert len(shop.ledger()) == 1

    def test_before_the_process_has_forgotten_the_run_that_began_to_wait(self):
        """A slow notifier holds the writer up after the commit of the question, which a client may see at once."""
        for event in (HoldingNotifier.begun, HoldingNotifier.released):
            event.clear()
        self.addCleanup(HoldingNotifier.released.set)
        self.provider.script(Script(["I pay."], tool_calls=[PAY]), Script(["Paid."]))
        notifier = {"BACKEND": f"{__name__}.HoldingNotifier"}
        with override_settings(STREAMING_CHAT_NOTIFIER=notifier, STREAMING_CHAT_LEASE_SECONDS=30):
            exchange = self.browser.send("Pay", model="openai:any")
            exchange.until(lambda: exchange.frames)
            reply = waiting(exchange.message_id)
            assert HoldingNotifier.begun.wait(10)
            run = runner.find(reply.pk)
            answered = self.answer(reply)
            wait_until(lambda: runner.find(reply.pk) is not run)
            HoldingNotifier.released.set()
            reply = self.ended(reply.pk)

        assert answered.status == 200
        assert outcome(reply) == ("completed", "stop", "")
        assert shop.ledger() == ["pay call_0 200"]

    def test_by_a_stranger(self):
        reply = self.begin()
        stranger = Browser(self.server.port, make_user("stranger"))
        self.addCleanup(stranger.close)
        refused = self.answer(reply, browser=stranger)

        assert (refused.status, refused.json()["error"]["code"]) == (404, "not_found")
        assert shop.ledger() == []

    def test_without_the_permission(self):
        reply = self.begin()
        with override_settings(STREAMING_CHAT_PERMISSIONS={"BACKEND": "tests.tools.test_approval.OnlyStaff"}):
            assert self.answer(reply).status == 403

    def test_clients_are_told_whether_the_owner_may_answer(self):
        reply = self.begin()
        for permissions in ("OnlyStaff", "Unsure"):
            backend = {"BACKEND": f"tests.tools.test_approval.{permissions}"}
            with self.subTest(permissions), override_settings(STREAMING_CHAT_PERMISSIONS=backend):
                assert self.shown_may_answer(reply) == [False, False]

        assert self.shown_may_answer(reply) == [True, True]

    def shown_may_answer(self, reply):
        """Return what the message says, by itself and in its conversation."""
        [*_earlier, last] = self.browser.get(f"api/conversations/{reply.conversation_id}").json()["messages"]
        return [self.browser.get(f"api/messages/{reply.pk}").json()["may_answer"], last["may_answer"]]

    def test_by_staff(self):
        """From outside of the owner's requests; the tool acts as the owner all the same."""
        reply, staff = self.begin(), make_user("staff")
        answer_for_staff(reply.pk, [CallAnswer(call="call_0", approved=True)], by=staff)
        self.ended(reply.pk)

        assert shop.ledger() == ["pay call_0 200"]
        assert ToolCall.objects.get().by == staff

    def test_by_staff_in_a_transaction(self):
        """As in the admin with ATOMIC_REQUESTS: the reply goes on at the commit, when its writer can see the lease."""
        reply, staff = self.begin(), make_user("staff")
        with transaction.atomic(), self.assertNoLogs("streaming_chat", "WARNING"):
            answer_for_staff(reply.pk, [CallAnswer(call="call_0", approved=True)], by=staff)
            assert runner.find(reply.pk) is None
        reply = self.ended(reply.pk)

        assert outcome(reply) == ("completed", "stop", "")
        assert shop.ledger() == ["pay call_0 200"]

    def test_of_another_call(self):
        reply = self.begin()

        assert self.answer(reply, {"call": "call_9", "approved": True}).status == 422
        assert self.answer(reply, {"call": "call_0", "output": "x"}).status == 422

    def test_on_another_device(self):
        """Another session of the owner, on another server."""
        reply = self.begin()
        with ThreadServer() as other:
            browser = Browser(other.port, self.browser.user)
            self.answer(reply, browser=browser).json()
            browser.follow(reply.pk).rest()
            browser.close()

        assert outcome(self.ended(reply.pk)) == ("completed", "stop", "")
        assert len(shop.ledger()) == 1

    def test_after_expiry(self):
        reply = self.begin()
        LiveReply.objects.update(expires_at=Now() - timedelta(seconds=1))
        refused = self.answer(reply)
        reply = self.ended(reply.pk)

        assert (refused.status, refused.json()["error"]["code"]) == (409, "not_waiting")
        assert outcome(reply) == ("stopped", "approval_expired", "")
        assert [status for status, _text in results(reply)] == ["denied"]
        assert rows(reply) == [("pay", "denied")]
        assert shop.ledger() == []

    def test_after_the_tool_has_changed(self):
        reply = self.begin()
        ToolCall.objects.update(digest="another")
        self.answer(reply).json()
        reply = self.ended(reply.pk)

        [(status, output)] = results(reply)
        assert (status, "has changed" in output) == ("error", True)
        assert shop.ledger() == []

    def test_of_a_user_who_was_deactivated_before_the_call_ran(self):
        reply = self.begin()
        order = ToolCall.objects.get()
        assert order.status == "waiting"
        self.browser.user.is_active = False
        self.browser.user.save()

        assert self.answer(reply).status in (401, 403)
        assert shop.ledger() == []

    def test_another_message_must_wait(self):
        reply = self.begin()
        refused = self.browser.post(f"api/conversations/{reply.conversation_id}/messages", {"content": "Well?"})

        assert (refused.status, refused.json()["error"]["code"]) == (409, "reply_in_progress")

    def test_stop(self):
        reply = self.begin()
        stopped = self.browser.stop(reply.pk)

        assert (stopped.status, stopped.json()["status"]) == (200, "stopped")
        reply = self.ended(reply.pk)
        assert [status for status, _text in results(reply)] == ["cancelled"]
        assert not unpaired(reply.parts)
        self.exchange.rest()
        assert self.exchange.endings[0].event == "stopped"

    def test_under_wsgi(self):
        """The send is answered as soon as the reply waits; the answer streams what follows."""
        api = Api(self.browser.user)
        self.provider.script(Script(["I pay."], tool_calls=[PAY]), Script(["Paid."]))
        sent = api.post("api/messages", {"content": "Pay", "model": "openai:any", "stream": False})
        reply = waiting(sent.json()["message"]["id"])
        body = {"answers": [{"call": "call_0", "approved": True}], "stream": True}
        streamed = read_stream(api.post(f"api/messages/{reply.pk}/answers", body))

        assert sent.status_code == 202
        assert streamed.text == "\n\nPaid."
        assert streamed.end["status"] == "completed"

    def test_whose_process_dies_before_it_goes_on_with_it(self):
        """A process that has taken over a dead worker's reply dies, too: nobody can answer, so nobody waits for a day."""
        reply = self.begin()
        ToolCall.objects.update(status="approved", runs=1, is_idempotent=True)
        using = live_database()
        received = ReplyEvent.objects.using(using).stream(reply.pk)
        assert write_transaction(lambda: tool_rows.park(reply.pk, received, using))

        within = Now() + timedelta(seconds=conf.STREAMING_CHAT_LEASE_SECONDS + 1)
        assert LiveReply.objects.filter(pk=reply.pk, worker="", expires_at__lt=within).exists()

        LiveReply.objects.update(expires_at=LiveReply.expired_lease())
        recover_abandoned(LiveReply.objects.all(), may_go_on=True)
        reply = self.ended(reply.pk)

        assert outcome(reply) == ("interrupted", "lease_expired", "lease_expired")
        assert [status for status, _text in results(reply)] == ["unknown"]

    def test_that_ends_keeps_what_was_answered(self):
        """What a client has returned and what a person has refused are told to the model, whatever ends the reply."""
        reply = self.begin(ClientToolTests.LOCATE, PAY, ("pay", '{"amount": 300}'))
        self.answer(reply, {"call": "call_0", "output": "Köln"}, {"call": "call_1", "approved": False}).json()
        self.browser.stop(reply.pk)
        reply = self.ended(reply.pk)

        assert results(reply)[0] == ("ok", "Köln")
        assert [status for status, _text in results(reply)] == ["ok", "denied", "cancelled"]
        assert rows(reply) == [("locate", "ok"), ("pay", "denied"), ("pay", "cancelled")]

    def test_that_cannot_go_on_keeps_what_was_answered(self):
        reply = self.begin(ClientToolTests.LOCATE, PAY)
        with override_settings(STREAMING_CHAT_TOOLS={}):
            self.answer(reply, {"call": "call_0", "output": "Köln"}, {"call": "call_1", "approved": False}).json()
            reply = self.ended(reply.pk)

        assert outcome(reply)[:2] == ("interrupted", "internal")
        assert results(reply) == [("ok", "Köln"), ("denied", "The user did not allow this call.")]
        assert rows(reply) == [("locate", "ok"), ("pay", "denied")]

    def test_that_cannot_go_on_with_a_call_that_had_begun(self):
        """A call of an idempotent tool whose worker has died may have had its effect, also if it cannot be repeated."""
        for settings, digest in (({"STREAMING_CHAT_TOOLS": {}}, None), ({}, "another")):
            with self.subTest(digest=digest):
                self.provider.clear()
                reply = self.begin()
                row = ToolCall.objects.get(message=reply)
                ToolCall.objects.filter(pk=row.pk).update(runs=1, digest=digest or row.digest)
                with override_settings(**settings):
                    self.answer(reply).json()
                    reply = self.ended(reply.pk)

                [(status, output)] = results(reply)
                assert (status, "not known whether" in output) == ("unknown", True)
                assert shop.ledger() == []

    def test_without_a_stream_the_answer_is_that_it_waits(self):
        self.provider.script(Script(["I pay."], tool_calls=[PAY]))
        sent = self.browser.send("Pay", model="openai:any", stream=False)

        assert (sent.status, sent.json()["message"]["status"]) == (202, "waiting")
        assert LiveReply.objects.get().worker == ""


SECRET = "a secret"


def broken_prompt(request, conversation, messages):
    raise RuntimeError(SECRET)


# Settings with which a reply cannot go on.
BROKEN_SITES: tuple[dict[str, object], ...] = (
    {"STREAMING_CHAT_PROMPT": "tests.tools.test_approval.broken_prompt"},
    {"STREAMING_CHAT_CONTEXT": "no.such.function"},
    {"STREAMING_CHAT_PROVIDERS": {"demo": {"BACKEND": "streaming_chat.providers.demo.DemoProvider"}}},
)


class CannotGoOnTests(ApprovalCase):
    """An answer with which the reply could not go on is not saved, and can be given again."""

    def refused(self, reply, **fields):
        """Answer, and return the status and the error, once they are there."""
        response = self.answer(reply, **fields)
        return response.status, response.json()["error"]

    def assert_waits(self, reply):
        live, call = LiveReply.objects.get(message=reply), ToolCall.objects.get()

        assert (live.worker, live.slot, live.stop) == ("", None, None)
        assert (call.status, call.answer, call.by) == ("waiting", None, None)
        assert Message.objects.get(pk=reply.pk).status == Conversation.objects.get(pk=reply.conversation_id).last_status
        assert shop.ledger() == []

    def assert_goes_on(self, reply):
        self.answer(reply).json()

        assert outcome(self.ended(reply.pk)) == ("completed", "stop", "")
        assert len(shop.ledger()) == 1

    def test_the_site_cannot_make_the_prompt(self):
        for broken in BROKEN_SITES:
            with self.subTest(**broken):
                reply = self.begin()
                with override_settings(**broken), self.assertLogs("streaming_chat", "ERROR") as logs:
                    status, error = self.refused(reply)

                assert (status, error["code"], error["retryable"]) == (503, "cannot_go_on", True)
                assert error["ref"] in logs.output[0]
                assert SECRET not in str(logs.output)
                self.assert_waits(reply)

                self.assert_goes_on(reply)
                Path(os.environ["SHOP_LEDGER"]).unlink()
                Conversation.objects.all().delete()

    def test_the_toolbox_cannot_be_imported(self):
        reply = self.begin()
        with (
            override_settings(STREAMING_CHAT_TOOLS={"shop": "no.such.toolbox"}),
            self.assertLogs("streaming_chat", "ERROR"),
        ):
            status, error = self.refused(reply, arguments={"amount": 150})

        assert (status, error["code"]) == (503, "cannot_go_on")
        self.assert_waits(reply)
        self.assert_goes_on(reply)

    def test_the_owner_has_too_many_replies(self):
        reply = self.begin()
        other = make_live(make_conversation(self.browser.user), slot=0)
        with override_settings(STREAMING_CHAT_MAX_LIVE_REPLIES_PER_OWNER=1):
            status, error = self.refused(reply)

        assert (status, error["code"]) == (429, "too_many_replies")
        self.assert_waits(reply)

        other.message.conversation.delete()
        self.assert_goes_on(reply)

    def test_an_answer_that_is_not_the_last_one_needs_no_model(self):
        reply = self.begin(PAY, PAY)
        with override_settings(**BROKEN_SITES[0]):
            assert self.answer(reply).status == 200

        assert rows(reply) == [("pay", "approved"), ("pay", "waiting")]

    def test_a_reply_of_a_dead_worker(self):
        """Nobody can answer again, so it ends with a result for every call."""
        reply = self.begin()
        ToolCall.objects.update(status="approved")
        with override_settings(**BROKEN_SITES[0]), self.assertLogs("streaming_chat", "ERROR"):
            go_on(reply.pk)

        reply = self.ended(reply.pk)
        assert outcome(reply) == ("interrupted", "lease_expired", "lease_expired")
        assert [status for status, _text in results(reply)] == ["cancelled"]
        assert not unpaired(reply.parts)
        assert shop.ledger() == []

    def test_the_reply_can_be_stopped(self):
        reply = self.begin()
        with override_settings(**BROKEN_SITES[0]):
            assert self.answer(reply).status == 503
            assert self.browser.stop(reply.pk).json()["status"] == "stopped"

        reply = self.ended(reply.pk)
        assert [status for status, _text in results(reply)] == ["cancelled"]
        assert not unpaired(reply.parts)


class ClientToolTests(ApprovalCase):
    LOCATE = ("locate", '{"precise": true}')

    def test_the_client_returns_the_output(self):
        reply = self.begin(self.LOCATE, answer="You are in Köln.")

        assert ReplyEvent.objects.get(kind="approval").payload["calls"] == [
            {"id": "call_0", "runs": "client", "editable": False}
        ]

        self.answer(reply, {"call": "call_0", "output": {"city": "Köln"}}).json()
        reply = self.ended(reply.pk)

        assert results(reply) == [("ok", '{"city": "Köln"}')]
        assert rows(reply) == [("locate", "ok")]
        assert self.provider.calls[-1].body["messages"][-1]["content"] == '{"city": "Köln"}'

    def test_an_empty_output(self):
        """It is an output all the same: the tool's function is never called by the server."""
        reply = self.begin(self.LOCATE)
        self.answer(reply, {"call": "call_0", "output": ""}).json()
        reply = self.ended(reply.pk)

        assert results(reply) == [("ok", "")]
        assert shop.ledger() == []

    def test_an_output_is_limited(self):
        reply = self.begin(self.LOCATE)
        with override_settings(STREAMING_CHAT_MAX_TOOL_OUTPUT_CHARS=10):
            self.answer(reply, {"call": "call_0", "output": "x" * 100}).json()
        reply = self.ended(reply.pk)

        assert results(reply) == [("ok", "x" * 10 + "\n[The output was cut off.]")]

    def test_an_approval_is_no_output(self):
        reply = self.begin(self.LOCATE)

        assert self.answer(reply).status == 422
