"""What a request reads does not grow with the length of a conversation, and every list of messages is paged."""

from itertools import pairwise
from urllib.parse import urlencode

from django.test import TestCase, override_settings

from streaming_chat.chats.branches import PAGE_CHARS, PAGE_MESSAGES
from streaming_chat.models import Conversation, Message
from streaming_chat.testing import read_stream, scripted_provider
from tests.factories import make_conversation, make_reply, make_user
from tests.native import Api, error_of

from .growth import counted

# Bytes of a message as JSON, besides its text.
_ENVELOPE = 2_000


def fill(conversation, count, text="Hm."):
    """Make so many messages of one branch, in turn of the user and of the assistant; return their ids."""
    roles = (Message.Role.USER, Message.Role.ASSISTANT)
    rows = [Message(conversation=conversation, depth=depth, role=roles[depth % 2], text=text) for depth in range(count)]
    for before, row in pairwise(rows):
        row.parent_id = before.pk
    Message.objects.bulk_create(rows)
    Conversation.objects.filter(pk=conversation.pk).update(head=rows[-1].pk, message_count=count)
    return [row.pk for row in rows]


@scripted_provider()
class WorkTests(TestCase):
    """The same requests on a branch of 600 messages, more than a prompt takes, and on one of 2,000."""

    @classmethod
    def setUpTestData(cls):
        cls.conversations = [make_conversation(), make_conversation()]
        cls.short, cls.long = (
            fill(conversation, count) for conversation, count in zip(cls.conversations, (600, 2_000), strict=True)
        )

    def setUp(self):
        self.api = Api(make_user())

    def work(self, request):
        """Return the work of a request on each of the conversations."""
        found = []
        for conversation, messages in zip(self.conversations, (self.short, self.long), strict=True):
            with counted() as work:
                response = request(f"api/conversations/{conversation.pk}", messages)
            assert response.status_code == 200, response
            if response.streaming:
                read_stream(response)
            found.append((work.statements, work.rows))
        return found

    def assert_same(self, request, *, rows):
        """rows: the most that may be read."""
        short, long = self.work(request)

        assert short == long
        assert long[1] <= rows

    def test_a_read(self):
        self.assert_same(lambda path, messages: self.api.get(path), rows=2 * PAGE_MESSAGES + 10)

    def test_an_earlier_page(self):
        self.assert_same(
            lambda path, messages: self.api.get(f"{path}/messages?before={messages[-1]}"),
            rows=2 * PAGE_MESSAGES + 10,
        )

    def test_the_tree(self):
        self.assert_same(
            lambda path, messages: self.api.get(f"{path}/messages?after={messages[100]}"),
            rows=3 * PAGE_MESSAGES + 10,
        )

    def test_a_message(self):
        self.assert_same(lambda path, messages: self.api.get(f"api/messages/{messages[-1]}"), rows=10)

    def test_a_plain_page(self):
        self.assert_same(
            lambda path, messages: self.api.get(f"c/{path.split('/')[-1]}?view=plain"), rows=PAGE_MESSAGES + 20
        )

    def test_a_change_of_the_branch(self):
        for conversation in self.conversations:
            make_reply(conversation, "Another beginning", parent=None)

        self.assert_same(
            lambda path, messages: self.api.patch(path, {"branch": str(messages[0])}), rows=2 * PAGE_MESSAGES + 20
        )

    def test_a_send(self):
        self.assert_same(lambda path, messages: self.api.post(f"{path}/messages", {"content": "Hi"}), rows=550)

    def test_a_send_reads_what_fits_the_prompt(self):
        self.provider.max_prompt_chars = 60
        self.assert_same(lambda path, messages: self.api.post(f"{path}/messages", {"content": "Hi"}), rows=60)

        assert len(self.provider.calls[-1].prompt.turns) <= 20
        assert Message.objects.latest("created_at", "id").omitted_messages > 1_900

    def test_a_message_with_a_thousand_siblings(self):
        found = []
        for conversation, messages in zip(self.conversations, (self.short, self.long), strict=True):
            again = [
                Message(conversation=conversation, parent_id=messages[-2], depth=len(messages) - 1, role="assistant")
                for _number in range(len(messages))
            ]
            Message.objects.bulk_create(again)
            with counted() as work:
                shown = self.api.get(f"api/conversations/{conversation.pk}").json()["messages"]
            found.append((work.statements, work.rows))
            assert shown[-1]["siblings"]["count"] == len(messages) + 1
            assert len(shown) == PAGE_MESSAGES

        assert found[0] == found[1]


class SizeTests(TestCase):
    """The same requests on messages of 3 and of 30,000 characters."""

    def setUp(self):
        self.api = Api(make_user())
        self.conversation = make_conversation()
        self.messages = fill(self.conversation, 120, "m" * 30_000)
        self.path = f"api/conversations/{self.conversation.pk}"

    def test_every_page_has_a_maximum_size(self):
        first = self.messages[0]
        for query in ("", "/messages", f"/messages?after={first}", f"/messages?before={self.messages[-1]}"):
            with self.subTest(query):
                response = self.api.get(self.path + query)

                assert len(response.content) < PAGE_CHARS + PAGE_MESSAGES * _ENVELOPE

    def test_a_plain_page(self):
        response = self.api.get(f"c/{self.conversation.pk}?view=plain")

        assert len(response.content) < PAGE_CHARS + PAGE_MESSAGES * _ENVELOPE

    def test_the_pages_have_all_messages(self):
        shown = self.api.get(self.path).json()
        found, earlier = shown["messages"], shown["earlier"]
        while earlier:
            page = self.api.get(f"{self.path}/messages?before={earlier}").json()
            found, earlier = page["results"] + found, page["earlier"]

        assert [message["id"] for message in found] == [str(pk) for pk in self.messages]


@scripted_provider()
class LengthTests(TestCase):
    @override_settings(STREAMING_CHAT_MAX_CONVERSATION_MESSAGES=4)
    def test_a_conversation_has_a_maximum_length(self):
        api = Api(make_user())
        reply = api.reply("Hi")
        conversation = reply.conversation
        api.send("And now?", conversation)
        for path in (f"conversations/{conversation.pk}/messages", f"messages/{reply.pk}/regenerate"):
            with self.subTest(path):
                body = {"content": "More"} if path.endswith("messages") else {}
                response = api.post(f"api/{path}", body)
                error = error_of(response)

                assert (response.status_code, error["code"], error["retryable"]) == (422, "conversation_full", False)
        form = urlencode({"content": "Kept text"})
        plain = api.client.post(f"/chat/c/{conversation.pk}", form, content_type="application/x-www-form-urlencoded")

        assert plain.status_code == 422
        assert "Kept text" in plain.text
        assert "maximum length" in plain.text
        assert Message.objects.count() == 4
