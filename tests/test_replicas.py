"""A site whose router reads from a replica, which lags behind: what an owner has just done is read where it was written."""

from django.test import override_settings

from streaming_chat.models import Message

from .factories import make_conversation, make_reply
from .native import ApiTestCase


class Router:
    """Reads the app's tables from a replica so late that there is none."""

    def db_for_read(self, model, **hints):
        return "late" if model._meta.app_label == "streaming_chat" else None

    def db_for_write(self, model, **hints):
        return "default"

    def allow_relation(self, one, other, **hints):
        return True


@override_settings(DATABASE_ROUTERS=[f"{__name__}.Router"])
class ReplicaTests(ApiTestCase):
    def test_a_conversation_is_answered_with_when_it_is_made(self):
        assert self.api.post("api/conversations", {"title": "New"}).status_code == 201

    def test_the_prompt_has_the_last_reply(self):
        conversation = make_conversation()
        make_reply(conversation, "Yes.")
        self.api.send("And now?", conversation)

        assert [turn.text for turn in self.provider.calls[-1].prompt.turns] == ["Will it rain?", "Yes.", "And now?"]

    def test_a_conversation_is_read_and_changed(self):
        conversation = make_conversation()
        reply = make_reply(conversation, "Yes.")
        path = f"api/conversations/{conversation.pk}"
        changed = self.api.patch(path, {"title": "Rain", "head": str(reply.pk)}).json()

        assert [changed["title"], len(changed["messages"])] == ["Rain", 2]
        assert len(self.api.get(f"{path}/messages").json()["results"]) == 2
        assert self.api.delete(path).status_code == 204
        assert self.api.post(f"{path}/restore").status_code == 200

    def test_feedback_is_in_the_answer(self):
        reply = make_reply(make_conversation(), "Yes.")
        path = f"api/messages/{reply.pk}/feedback"

        assert self.api.put(path, {"value": 1}).json()["feedback"] == {"value": 1, "comment": ""}
        assert self.api.delete(path).status_code == 204
        assert Message.objects.using("default").filter(feedback=None, pk=reply.pk).exists()
