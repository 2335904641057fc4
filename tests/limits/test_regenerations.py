"""A reply that the provider refuses uses no quota, so asking again for it is limited by itself."""

from datetime import timedelta
from typing import Any

from django.db.models import F
from django.test import override_settings

from streaming_chat.models import Message
from streaming_chat.testing import Script
from tests.factories import make_user
from tests.native import Api, ApiTestCase, error_of

LIMIT = 20


class RegenerationTests(ApiTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.provider.script(*[Script("Half", end_reason="length"), *[Script("", error="provider_auth")] * 100])
        self.reply = self.api.reply()

    def ask(self, reply: Message | None = None, how: str = "regenerate", api: Api | None = None) -> Any:
        return (api or self.api).post(f"api/messages/{(reply or self.reply).pk}/{how}", {"stream": False})

    def statuses(self, count: int, **options: Any) -> list[int]:
        return [self.ask(**options).status_code for _ in range(count)]

    def pass_time(self) -> None:
        """Make everything a minute older."""
        Message.objects.update(created_at=F("created_at") - timedelta(minutes=1))

    def test_so_many_may_be_asked_for_in_a_minute(self):
        assert self.statuses(LIMIT + 1) == [200] * LIMIT + [429]
        assert Message.objects.filter(status="failed").count() == LIMIT

    def test_after_a_minute_there_are_more(self):
        self.statuses(LIMIT)
        self.pass_time()

        assert self.statuses(LIMIT + 1) == [200] * LIMIT + [429]

    def test_continuing_counts_too(self):
        assert self.statuses(LIMIT // 2) == [200] * (LIMIT // 2)
        assert self.statuses(LIMIT // 2 + 1, how="continue") == [200] * (LIMIT // 2) + [429]

    def test_all_conversations_count_together(self):
        other = self.api.reply()
        self.statuses(LIMIT)

        assert self.ask(other).status_code == 429

    def test_those_of_a_deleted_conversation_count(self):
        other = self.api.reply()
        self.statuses(LIMIT)
        self.api.delete(f"api/conversations/{self.reply.conversation_id}")

        assert self.ask(other).status_code == 429

    def test_sending_goes_on(self):
        self.statuses(LIMIT)
        self.api.send()
        self.api.send(conversation=self.reply.conversation)

    def test_what_was_sent_does_not_count(self):
        for _number in range(LIMIT):
            self.api.send()

        assert self.ask().status_code == 200

    def test_another_owner_may_go_on(self):
        self.statuses(LIMIT)
        bo = Api(make_user("bo"))
        reply = bo.reply()

        assert self.ask(reply, api=bo).status_code == 200

    def test_the_refusal_says_when_to_try_again(self):
        self.statuses(LIMIT)
        response = self.ask()

        assert error_of(response)["code"] == "too_many_regenerations"
        assert response.headers["Retry-After"] == "60"

    def test_a_visitor_has_no_more(self):
        with override_settings(STREAMING_CHAT_ALLOW_ANONYMOUS=True, STREAMING_CHAT_QUOTA=None):
            visitor = Api()
            reply = visitor.reply()

            assert self.statuses(LIMIT + 1, reply=reply, api=visitor) == [200] * LIMIT + [429]
