"""Tool calls on the page without JavaScript: what it shows of them, to whom, and the form that answers one."""

from django.test import Client, override_settings

from streaming_chat.accounts.permissions import Permissions
from streaming_chat.chats.sharing import share
from streaming_chat.models import LiveReply, Message, ToolCall
from tests.factories import make_conversation, make_reply, make_user
from tests.tools import shop
from tests.tools.test_approval import BROKEN_SITES, PAY, ApprovalCase

CLOCK = ("clock", "{}")
PARTS = [
    {"kind": "step", "number": 1},
    {"kind": "tool_call", "id": "a", "name": "orders", "arguments": '{"of": "Ann"}', "complete": True},
    {"kind": "tool_result", "id": "a", "status": "ok", "output": "Order 17", "ms": 3},
    {"kind": "step", "number": 2},
    {"kind": "text", "text": "There is one."},
]


class OnlyStaff(Permissions):
    """Owners may not answer."""

    def may_answer(self, request, owner, conversation):
        return False


class PlainCallCase(ApprovalCase):
    def setUp(self):
        super().setUp()
        self.client = Client()
        self.client.force_login(self.browser.user)

    def page(self, conversation, client=None):
        return (client or self.client).get(f"/chat/c/{conversation.pk}", {"view": "plain"}).content.decode()

    def post(self, reply, /, answer="allow", client=None, **fields):
        posted = {"reply": reply.pk, "call": "call_0", "reason": "", "answer": answer, **fields}
        body = "&".join(f"{name}={value}" for name, value in posted.items())
        kind = "application/x-www-form-urlencoded"
        return (client or self.client).post(f"/chat/c/{reply.conversation_id}", body, content_type=kind)


class FormTests(PlainCallCase):
    def test_the_page_asks_and_shows_no_other_form(self):
        reply = self.begin()
        page = self.page(reply.conversation)

        assert "Allow the model to run <bdi>pay</bdi> with these arguments?" in page
        assert 'name="content"' not in page
        assert "http-equiv" not in page
        assert "Tool call: pay · Waiting for you" in page

    def test_it_is_allowed(self):
        reply = self.begin()
        response = self.post(reply)
        reply = self.ended(reply.pk)

        assert (response.status_code, response["Location"]) == (
            303,
            f"/chat/c/{reply.conversation_id}?view=plain#m-{reply.pk}",
        )
        assert shop.ledger() == ["pay call_0 200"]
        assert "Tool call: pay · Done" in self.page(reply.conversation)

    def test_it_is_denied_with_a_reason(self):
        reply = self.begin()
        self.post(reply, "deny", reason="Too%20much", arguments="{")
        self.ended(reply.pk)

        assert shop.ledger() == []
        assert ToolCall.objects.get().answer == {"approved": False, "reason": "Too much"}

    def test_arguments_that_were_not_changed_are_the_models(self):
        reply = self.begin()
        self.post(reply, arguments="%7B%22amount%22: 200%7D")
        self.ended(reply.pk)

        assert ToolCall.objects.get().answer == {"approved": True}

    def test_changed_arguments(self):
        reply = self.begin()
        refused = self.post(reply, arguments="%7B%22amount%22: ")
        assert refused.status_code == 422
        assert "The arguments must be a JSON object." in refused.content.decode()
        assert "{&quot;amount&quot;: </textarea>" in refused.content.decode()
        self.post(reply, arguments="%7B%22amount%22: 150%7D")
        self.ended(reply.pk)

        assert shop.ledger() == ["pay call_0 150"]

    def test_one_of_several_leads_back_to_the_rest(self):
        reply = self.begin(PAY, CLOCK, ("pay", '{"amount": 300}'))
        assert self.post(reply).status_code == 303
        page = self.page(reply.conversation)

        assert page.count('class="scp-answer"') == 1
        assert "Tool call: pay · Allowed" in page
        assert LiveReply.objects.get().worker == ""


class RefusedTests(PlainCallCase):
    def test_what_is_answered_with_an_error(self):
        reply = self.begin()
        errors = {
            404: {"reply": "00000000-0000-7000-8000-000000000000"},
            422: {"call": "call_9"},
        }
        for status, fields in [*errors.items(), (422, {"reason": "x" * 1001}), (422, {"reply": "x"})]:
            with self.subTest(fields):
                assert self.post(reply, **fields).status_code == status
        assert shop.ledger() == []
        assert Message.objects.get(pk=reply.pk).status == "waiting"

    def test_another_answer_than_before(self):
        reply = self.begin()
        self.post(reply)
        self.ended(reply.pk)

        assert self.post(reply, "deny").status_code == 409
        assert len(shop.ledger()) == 1

    def test_a_reply_that_cannot_go_on(self):
        """The page says so, and asks again."""
        reply = self.begin()
        for broken in BROKEN_SITES:
            with self.subTest(**broken), override_settings(**broken), self.assertLogs("streaming_chat", "ERROR"):
                response = self.post(reply)
                page = response.content.decode()

                assert response.status_code == 503
                assert "so the answer was not saved" in page
                assert "Allow the model to run <bdi>pay</bdi> with these arguments?" in page

        assert self.post(reply).status_code == 303
        self.ended(reply.pk)
        assert shop.ledger() == ["pay call_0 200"]

    def test_a_stranger(self):
        reply = self.begin()
        stranger = Client()
        stranger.force_login(make_user("stranger"))

        assert self.post(reply, client=stranger).status_code == 404
        assert shop.ledger() == []

    def test_without_the_token_of_a_form(self):
        reply = self.begin()
        client = Client(enforce_csrf_checks=True)
        client.force_login(self.browser.user)

        assert self.post(reply, client=client).status_code == 403
        assert ToolCall.objects.get().status == "waiting"

    @override_settings(STREAMING_CHAT_PERMISSIONS={"BACKEND": "tests.views.test_plain_calls.OnlyStaff"})
    def test_without_the_permission_to_answer(self):
        reply = self.begin()

        page = self.page(reply.conversation)
        assert "scp-answer" not in page
        assert "Tool call: pay · Waiting for another person" in page
        assert "Waiting for you<" not in page
        assert self.post(reply).status_code == 403
        assert shop.ledger() == []


class ShownTests(PlainCallCase):
    def test_results_are_for_the_owner(self):
        """A share link shows what was called, as before, and nothing that the site has found for the owner."""
        conversation = make_conversation(self.browser.user)
        make_reply(conversation, parts=PARTS)
        with override_settings(STREAMING_CHAT_SHARING=True):
            shared = Client().get(f"/chat/shared/{share(conversation).token}").content.decode()
        own = self.page(conversation)

        assert "Order 17" in own
        assert "Tool call: orders" in shared
        assert "Order 17" not in shared

    def test_the_list_says_which_conversation_waits(self):
        reply = self.begin()
        conversation = make_conversation(self.browser.user)

        assert self.page(conversation).count("Waiting for your answer") == 1
        self.post(reply)
        self.ended(reply.pk)
        assert "Waiting for your answer" not in self.page(conversation)

    def test_arguments_are_shown_as_they_are_read(self):
        """A line for each member: see shown_json.py."""
        page = self.page(self.begin(("pay", '{"amount":200}')).conversation)

        assert "{\n  &quot;amount&quot;: 200\n}" in page


class ApiTests(PlainCallCase):
    def test_the_answers_so_far_are_with_a_live_message(self):
        reply = self.begin(PAY, ("pay", '{"amount": 300}'))
        path = f"api/messages/{reply.pk}"
        assert self.browser.get(path).json()["answers"] == []
        answered = self.answer(reply, {"call": "call_1", "approved": False, "reason": "Too much"}).json()

        assert answered["answers"] == [{"call": "call_1", "approved": False}]
        assert self.browser.get(path).json()["answers"] == answered["answers"]
        self.answer(reply, {"call": "call_0", "approved": True}).json()
        self.ended(reply.pk)
        assert "answers" not in self.browser.get(path).json()
