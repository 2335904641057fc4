"""Rows by their ids, for the owner alone."""

import uuid

from django.db.models.functions import Now
from django.test import TestCase

from streaming_chat.accounts.owners import Owner, user_key
from streaming_chat.exceptions import APIError
from streaming_chat.models import Conversation
from streaming_chat.views.api.lookups import find_conversation, find_message, find_reply
from tests.factories import make_conversation, make_reply, make_user
from tests.native import ApiTestCase, error_of


class LookupTests(TestCase):
    def setUp(self):
        self.owner = Owner(make_user(), user_key(make_user()))
        self.conversation = make_conversation()
        self.reply = make_reply(self.conversation)

    def missing(self, find, pk):
        with self.assertRaises(APIError) as raised:
            find(self.owner, pk)
        return (raised.exception.status, raised.exception.code) == (404, "not_found")

    def test_what_is_the_owners_is_found(self):
        assert find_conversation(self.owner, self.conversation.pk) == self.conversation
        assert find_message(self.owner, self.reply.parent_id) == self.reply.parent
        assert find_reply(self.owner, self.reply.pk) == self.reply

    def test_a_users_message_is_no_reply(self):
        assert self.missing(find_reply, self.reply.parent_id)

    def test_unknown_and_foreign_ids_are_the_same(self):
        foreign = make_reply(make_conversation(make_user("ben")))
        for pk in (uuid.UUID(int=7), foreign.pk):
            assert self.missing(find_message, pk)
            assert self.missing(find_reply, pk)
        for pk in (uuid.UUID(int=7), foreign.conversation_id):
            assert self.missing(find_conversation, pk)

    def test_a_deleted_conversation_is_not_found_with_its_messages(self):
        Conversation.objects.update(deleted_at=Now())

        assert self.missing(find_conversation, self.conversation.pk)
        assert self.missing(find_reply, self.reply.pk)


class UnknownAddressTests(ApiTestCase):
    def test_every_method_is_answered_in_json(self):
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            with self.subTest(method=method):
                response = self.api.ask(method, "api/nothing/here", {})

                assert (response.status_code, error_of(response)["code"]) == (404, "not_found")

    def test_whatever_the_path_is(self):
        unknown = (
            "api",
            "api/",
            "api//",
            "api/messages/",
            "api/conversations/1",
            "api/conversations/search/",
            "api/models/",
        )
        encoded = (
            "api/a%0Ab",
            "api/%00",
            "api/%FF",
            "api/%ED%A0%80",
            "api/%E2%80%AE",
            "api%2Fnothing",
            "api/../x",
            "api/;a=b",
        )
        for path in (*unknown, *encoded, f"api/{'a/' * 500}", f"api/{'x' * 20_000}", "api/messages/1/events"):
            for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
                with self.subTest(path=path[:40], method=method):
                    response = self.api.ask(method, path, {})

                    assert (response.status_code, error_of(response)["code"]) == (404, "not_found")
            head = self.api.client.head(f"/chat/{path}")

            assert (head.status_code, head.headers["Content-Type"]) == (404, "application/json")
            assert self.api.client.options(f"/chat/{path}").status_code == 405
