"""Merging a visitor's chats over the API; accounts/test_merging.py has the ways in which people sign in and out."""

from streaming_chat.models import Conversation
from tests.native import Api, ApiTestCase, error_of

PATH = "api/claim"


class MergeTests(ApiTestCase):
    def test_only_a_user_is_offered_anything(self):
        for method in ("GET", "POST", "DELETE"):
            with self.subTest(method=method):
                response = Api().ask(method, PATH, {})

                assert (response.status_code, error_of(response)["code"]) == (401, "not_signed_in")

    def test_a_user_who_was_no_visitor_has_nothing_to_merge(self):
        assert self.api.get(PATH).json() == {"conversations": 0, "titles": []}
        assert self.api.post(PATH).json() == {"conversations": 0}
        assert self.api.delete(PATH).status_code == 204
        assert not Conversation.objects.exists()

    def test_a_body_has_no_fields(self):
        response = self.api.post(PATH, {"all": True})

        assert (response.status_code, error_of(response)["code"]) == (422, "invalid")
