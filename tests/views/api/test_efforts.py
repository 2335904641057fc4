"""The effort of a reply: chosen by the client among those that the site allows."""

from django.test import override_settings

from streaming_chat.models import Conversation, Message
from streaming_chat.testing import Script
from tests.native import ApiTestCase, error_of

OPTIONS = {"scripted:model": {"effort": "low", "efforts": ["low", "high"]}}


@override_settings(STREAMING_CHAT_MODEL_OPTIONS=OPTIONS)
class EffortTests(ApiTestCase):
    @property
    def asked(self):
        """The efforts that the provider was asked for."""
        return [call.prompt.options.effort for call in self.provider.calls]

    def test_a_client_chooses_one_for_a_reply(self):
        chosen, default = self.api.reply(effort="high"), self.api.reply()

        assert self.asked == [chosen.effort, default.effort] == ["high", "low"]
        assert self.api.get(f"api/messages/{chosen.pk}").json()["effort"] == "high"

    def test_the_others_are_refused_and_nothing_is_written(self):
        for effort in ("max", "medium", "", None, 3, "very high"):
            with self.subTest(effort):
                response = self.api.post("api/messages", {"content": "Hi", "effort": effort})

                assert (response.status_code, list(error_of(response)["fields"])) == (422, ["effort"])
        assert not Conversation.objects.exists()

    @override_settings(STREAMING_CHAT_MODEL_OPTIONS={})
    def test_without_a_choice_each_is_refused(self):
        response = self.api.post("api/messages", {"content": "Hi", "effort": "low"})

        assert "none" in error_of(response)["fields"]["effort"]
        assert self.api.reply().effort == ""
        assert self.asked == [None]

    def test_it_belongs_to_a_repeated_request(self):
        self.api.send(client_id="one", effort="high")
        self.api.send(client_id="one", effort="high")
        other = self.api.post("api/messages", {"content": "Hi", "client_id": "one", "effort": "low"})

        assert self.asked == ["high"]
        assert other.status_code == 422

    def test_a_reply_is_written_again_with_another(self):
        reply = self.api.reply()
        list(self.api.post(f"api/messages/{reply.pk}/regenerate", {"effort": "high"}).streaming_content)

        assert self.asked == ["low", "high"]

    def test_a_reply_is_continued_with_its_own(self):
        self.provider.script(Script(["It is"], end_reason="length"))
        reply = self.api.reply(effort="high")
        list(self.api.post(f"api/messages/{reply.pk}/continue").streaming_content)

        assert self.asked == ["high", "high"]
        assert {message.effort for message in Message.objects.filter(role="assistant")} == {"high"}

    def test_a_stateless_client_chooses_one(self):
        body = {"messages": [{"role": "user", "content": "Hi"}], "client_id": "one"}
        list(self.api.post("api/chat", {**body, "effort": "high"}).streaming_content)
        other = self.api.post("api/chat", {**body, "effort": "low"})

        assert self.asked == ["high"]
        assert (other.status_code, error_of(other)["code"]) == (422, "idempotency_mismatch")
