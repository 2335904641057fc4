"""Feedback of the conversation's owner."""

from streaming_chat.models import Feedback
from tests.factories import make_conversation, make_reply
from tests.native import ApiTestCase


class FeedbackTests(ApiTestCase):
    def setUp(self):
        super().setUp()
        self.reply = make_reply(make_conversation())
        self.path = f"api/messages/{self.reply.pk}/feedback"

    def test_given_changed_and_taken_back(self):
        given = self.api.put(self.path, {"value": 1, "comment": "Good"}).json()
        changed = self.api.put(self.path, {"value": -1}).json()
        feedback = Feedback.objects.get()
        taken = self.api.delete(self.path)

        assert given["feedback"] == {"value": 1, "comment": "Good"}
        assert changed["feedback"] == {"value": -1, "comment": ""}
        assert feedback.by == self.user
        assert taken.status_code == 204
        assert self.api.delete(self.path).status_code == 204
        assert self.api.get(f"api/messages/{self.reply.pk}").json()["feedback"] is None

    def test_wrong_values(self):
        for body in (
            {},
            {"value": 0},
            {"value": True},
            {"value": 1.0},
            {"value": "1"},
            {"value": 1, "comment": "x" * 4001},
            {"value": []},
        ):
            with self.subTest(body=str(body)[:20]):
                assert self.api.put(self.path, body).status_code == 422

    def test_only_replies_have_any(self):
        assert self.api.put(f"api/messages/{self.reply.parent_id}/feedback", {"value": 1}).status_code == 404

    def test_that_of_others_is_theirs(self):
        Feedback.objects.create(message=self.reply, value=1, owner_key="u:0")

        assert self.api.get(f"api/messages/{self.reply.pk}").json()["feedback"] is None
