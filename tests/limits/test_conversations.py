"""Conversations without a message cost rows and no tokens: so they are limited, and count in a quota."""

from datetime import timedelta

from django.db.models.functions import Now
from django.test import override_settings

from streaming_chat.accounts.owners import user_key
from streaming_chat.models import Conversation, QuotaUse
from tests.factories import make_conversation, make_user
from tests.native import Api, ApiTestCase, error_of

LIMIT = 100
DATABASE = "streaming_chat.quotas.database.DatabaseQuota"


class EmptyConversationTests(ApiTestCase):
    def fill(self, **fields) -> None:
        rows = [Conversation(owner=self.user, owner_key=user_key(self.user), **fields) for _ in range(LIMIT)]
        Conversation.objects.bulk_create(rows)

    def status(self, api: Api | None = None) -> int:
        return (api or self.api).post("api/conversations").status_code

    def test_so_many_may_be_there(self):
        statuses = [self.status() for _ in range(LIMIT + 1)]

        assert statuses == [201] * LIMIT + [429]
        assert Conversation.objects.count() == LIMIT

    def test_the_refusal_says_what_to_do(self):
        self.fill()
        response = self.api.post("api/conversations", {"title": "Rain"})
        error = error_of(response)

        assert (response.status_code, error["code"]) == (429, "too_many_conversations")
        assert "Send a message" in error["message"]
        assert int(response.headers["Retry-After"]) > 0

    def test_one_with_a_message_does_not_count(self):
        self.fill()
        self.api.send(conversation=Conversation.objects.first())

        assert [self.status(), self.status()] == [201, 429]

    def test_messages_need_none(self):
        self.fill()
        self.api.send()

        assert Conversation.objects.count() == LIMIT + 1

    def test_another_owner_has_as_many(self):
        self.fill()

        assert self.status(Api(make_user("bo"))) == 201

    def test_deleting_them_makes_no_room_at_once(self):
        """Or creating and deleting would be unlimited: the rows stay until `clearconversations`."""
        self.fill(deleted_at=Now())
        statuses = [self.status()]
        Conversation.objects.update(deleted_at=Now() - timedelta(days=2))

        assert [*statuses, self.status()] == [429, 201]


@override_settings(STREAMING_CHAT_ALLOW_ANONYMOUS=True)
class QuotaTests(ApiTestCase):
    def test_who_drops_the_cookie_is_limited_by_the_address(self):
        """A visitor created 1,371 in half a minute."""
        statuses = [Api().post("api/conversations").status_code for _ in range(61)]

        assert statuses == [201] * 60 + [429]
        assert Conversation.objects.count() == 60

    def test_each_counts_as_a_reply_of_no_tokens(self):
        with override_settings(STREAMING_CHAT_QUOTA={"BACKEND": DATABASE, "OPTIONS": {"owner_replies": 1}}):
            statuses = [self.api.post("api/conversations").status_code for _ in range(2)]

        assert statuses == [201, 429]
        assert QuotaUse.objects.values_list("replies", "tokens").get() == (1, 0)

    def test_users_without_a_quota_are_not_counted(self):
        make_conversation()
        self.api.post("api/conversations")

        assert not QuotaUse.objects.exists()
