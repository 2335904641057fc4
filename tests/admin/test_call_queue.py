"""The queue of tool calls that wait for an answer, and the page on which staff answer one."""

from datetime import timedelta

from django.contrib.admin.models import LogEntry
from django.db.models.functions import Now
from django.test import override_settings

from streaming_chat.models import AccessRecord, LiveReply, ToolCall
from tests.admin.base import READER, AdminTestCase, transcript_url
from tests.factories import make_call, make_conversation, make_live, make_reply, make_staff, make_user, make_waiting
from tests.tools.test_approval import BROKEN_SITES, ApprovalCase

LIST = "/admin/streaming_chat/toolcall/"
ANSWERING = (*READER, "answer_tool_call")


def answer_url(call):
    return f"{LIST}{call.pk}/answer/"


class QueueTests(AdminTestCase):
    permissions = ("view_conversation",)

    def test_it_has_the_calls_that_wait_without_their_text(self):
        (call,) = make_waiting(make_conversation(title="Rosebud"), "refund", arguments='{"word": "Rosebud"}')
        make_call(make_reply(make_conversation()), "done_already")
        make_live(make_conversation(make_user("bo")))
        page = self.client.get(LIST).content.decode()

        assert "Tool calls that wait for an answer" in page
        assert "refund" in page
        assert str(call.message.conversation_id) in page
        assert "ana" in page
        assert "done_already" not in page
        assert "Rosebud" not in page
        assert not AccessRecord.objects.exists()

    def test_the_oldest_is_first(self):
        first, second = (make_waiting(make_conversation(), name)[0] for name in ("first", "second"))
        rows = self.client.get(LIST).context["cl"].result_list

        assert [row.pk for row in rows] == [first.pk, second.pk]

    def test_it_is_searched_by_tool_conversation_message_and_owner(self):
        (call,) = make_waiting(make_conversation(), "refund")
        make_waiting(make_conversation(make_user("bo")), "other")
        message = call.message
        for words in ("refund", str(message.pk), str(message.conversation_id), message.conversation.owner_key):
            response = self.client.get(self.client.post(f"{LIST}find/", {"q": words}).url)

            assert [row.pk for row in response.context["cl"].result_list] == [call.pk]

    def test_the_number_of_queries_does_not_depend_on_the_number_of_calls(self):
        for _count in range(3):
            make_waiting(make_conversation(), "refund", "pay")

        self.assert_queries(6, LIST)

    def test_links_to_answer_are_for_users_who_may(self):
        (call,) = make_waiting(make_conversation())
        assert answer_url(call) not in self.client.get(LIST).content.decode()

        self.client.force_login(make_staff("manager", *ANSWERING))

        assert answer_url(call) in self.client.get(LIST).content.decode()
        assert answer_url(call) in self.client.get(transcript_url(call.message.conversation)).content.decode()


class AnswerPageTests(AdminTestCase):
    permissions = ANSWERING

    def waiting(self, **fields):
        """Return the first of two calls, so that the reply goes on waiting for the other one."""
        return make_waiting(make_conversation(), "refund", "pay", **fields)[0]

    def answer(self, call, **form):
        return self.client.post(answer_url(call), form)

    def test_it_shows_the_arguments_and_is_on_record(self):
        call = self.waiting(arguments='{"order": 7}')
        page = self.client.get(answer_url(call)).content.decode()

        assert "refund" in page
        assert "&quot;order&quot;: 7" in page
        (opened,) = AccessRecord.objects.all()
        assert (opened.kind, opened.message, opened.by_name) == ("open", call.message_id, "staff")

    def test_arguments_that_cannot_be_set_out_are_shown_as_they_are(self):
        for arguments in ("{", "[" * 100_000):
            page = self.client.get(answer_url(self.waiting(arguments=arguments)))

            assert arguments in page.content.decode()

    def test_it_takes_few_queries(self):
        self.assert_queries(7, answer_url(self.waiting()))

    def test_a_call_is_allowed(self):
        call = self.waiting()
        response = self.answer(call, answer="allow")
        call.refresh_from_db()

        assert (
            response.url == f"{transcript_url(call.message.conversation, message=call.message_id)}#m-{call.message_id}"
        )
        assert (call.status, call.answer, call.by.username) == ("approved", {"approved": True}, "staff")
        assert call.answered_at is not None
        assert AccessRecord.objects.get().kind == "answer"
        assert LogEntry.objects.get().change_message == f"Allowed a tool call of the reply {call.message_id}."
        assert LiveReply.objects.get().worker == ""

    def test_a_call_is_refused_with_a_reason(self):
        call = self.waiting()
        self.answer(call, answer="deny", reason=" Too much ")
        call.refresh_from_db()

        assert (call.status, call.answer) == ("denied", {"approved": False, "reason": "Too much"})
        assert "Too much" not in LogEntry.objects.get().change_message

    def test_a_form_without_a_button_refuses(self):
        """No browser that leaves the button out lets a tool run."""
        call = self.waiting()
        self.answer(call, reason="No")
        call.refresh_from_db()

        assert call.status == "denied"

    def test_changed_arguments(self):
        call = self.waiting(editable=True)
        assert "<textarea" in self.client.get(answer_url(call)).content.decode()

        self.answer(call, answer="allow", arguments='{"order": 8}')
        call.refresh_from_db()

        assert call.answer == {"approved": True, "arguments": '{"order": 8}'}
        assert call.arguments == '{"order": 7}'

    def test_arguments_in_another_form_are_not_changed(self):
        call = self.waiting(editable=True)
        self.answer(call, answer="allow", arguments='{\r\n  "order": 7\r\n}')
        call.refresh_from_db()

        assert call.answer == {"approved": True}

    def test_arguments_of_a_tool_that_does_not_allow_it(self):
        call = self.waiting()
        response = self.answer(call, answer="allow", arguments='{"order": 8}')
        call.refresh_from_db()

        assert response.status_code == 422
        assert "The arguments of this call cannot be changed." in response.content.decode()
        assert call.status == "waiting"

    def test_a_tool_of_the_client_can_only_be_refused(self):
        call = self.waiting(runs="client")
        assert 'value="allow"' not in self.client.get(answer_url(call)).content.decode()
        assert self.answer(call, answer="allow").status_code == 422

        self.answer(call, answer="deny")
        call.refresh_from_db()

        assert call.status == "denied"

    def test_answering_again_changes_nothing(self):
        call = self.waiting()
        self.answer(call, answer="allow")
        response = self.client.post(answer_url(call), {"answer": "deny"}, follow=True)
        call.refresh_from_db()

        assert "This call no longer waits for an answer." in response.content.decode()
        assert call.status == "approved"
        assert AccessRecord.objects.filter(kind="answer").count() == 1

    def test_a_call_whose_time_is_over(self):
        call = self.waiting()
        LiveReply.objects.update(expires_at=Now() - timedelta(seconds=5))
        response = self.client.post(answer_url(call), {"answer": "allow"}, follow=True)
        call.refresh_from_db()

        assert "This is no longer waiting for an answer." in response.content.decode()
        assert (call.status, call.by) == ("denied", None)

    def test_what_is_not_there(self):
        assert self.client.get(f"{LIST}999/answer/").status_code == 404

    def test_staff_who_may_not_read_may_not_answer(self):
        call = self.waiting()
        for held in (READER, ("view_conversation", "answer_tool_call"), ("view_transcript", "answer_tool_call")):
            self.client.force_login(make_staff("clerk", *held))

            assert self.client.get(answer_url(call)).status_code == 403
            assert self.answer(call, answer="allow").status_code == 403
        assert ToolCall.objects.get(pk=call.pk).status == "waiting"


class LastAnswerTests(ApprovalCase):
    def test_a_reply_that_cannot_go_on_waits_for_another_answer(self):
        reply = self.begin()
        call = ToolCall.objects.get(message=reply)
        self.client.force_login(make_staff("manager", *ANSWERING))
        for broken in BROKEN_SITES:
            with self.subTest(**broken), override_settings(**broken), self.assertLogs("streaming_chat", "ERROR"):
                response = self.client.post(answer_url(call), {"answer": "allow"}, follow=True)
                call.refresh_from_db()

                assert response.status_code == 200
                assert "so the answer was not saved" in response.content.decode()
                assert (call.status, call.answer) == ("waiting", None)
        assert not LogEntry.objects.exists()

        self.client.post(answer_url(call), {"answer": "allow"})

        assert self.ended(reply.pk).text == "I pay.\n\nPaid."

    def test_with_the_last_answer_the_reply_goes_on(self):
        reply = self.begin()
        call = ToolCall.objects.get(message=reply)
        self.client.force_login(make_staff("manager", *ANSWERING))
        response = self.client.post(answer_url(call), {"answer": "allow"})
        reply = self.ended(reply.pk)
        call.refresh_from_db()

        assert response.status_code == 302
        assert reply.text == "I pay.\n\nPaid."
        assert (call.status, call.output, call.by.username) == ("ok", "paid 200", "manager")
        assert call.ms is not None
