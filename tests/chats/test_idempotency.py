"""A request that is sent twice, with one client_id."""

from streaming_chat.chats.deletion import delete_for_owner
from streaming_chat.models import Message
from streaming_chat.testing import read_stream
from tests.factories import make_user
from tests.native import Api, ApiTestCase, error_of


class ClientIdTests(ApiTestCase):
    def test_the_same_again_is_the_same_reply(self):
        first, second = (self.api.send("Hi", client_id="one") for _ in range(2))

        # The same up to merging: the second is read when more has come.
        assert (first.start, first.text, first.end) == (second.start, second.text, second.end)
        assert len(self.provider.calls) == 1
        assert Message.objects.count() == 2

    def test_from_where_the_client_was(self):
        message = self.api.send("Hi", client_id="one").start["message"]
        response = self.api.post(
            "api/messages", {"content": "Hi", "client_id": "one"}, headers={"Last-Event-ID": f"{message}/6"}
        )

        assert read_stream(response).text == ", world"

    def test_how_it_is_delivered_does_not_count(self):
        first = self.api.send("Hi", client_id="one")
        body = {"content": "Hi", "client_id": "one", "stream": False, "disconnect": "stop"}
        second = self.api.post("api/messages", body).json()

        assert second["message"]["id"] == first.start["message"]

    def test_another_body_is_refused(self):
        self.api.send("Hi", client_id="one")
        for body in (
            {"content": "Ho"},
            {"content": "Hi", "model": "scripted:model"},
            {"content": "Hi", "parent": None},
        ):
            response = self.api.post("api/messages", {"client_id": "one", **body})

            assert (response.status_code, error_of(response)["code"]) == (422, "idempotency_mismatch")

    def test_it_counts_per_owner_and_conversation(self):
        reply = self.api.reply("Hi", client_id="one")
        self.api.send("Hi", reply.conversation, client_id="one")
        Api(make_user("bo")).send("Hi", client_id="one")

        assert len(self.provider.calls) == 3

    def test_a_deleted_conversations_is_not_found(self):
        reply = self.api.reply("Hi", client_id="one")
        delete_for_owner(reply.conversation.pk)
        response = self.api.post("api/messages", {"content": "Hi", "client_id": "one"})

        assert response.status_code == 404
