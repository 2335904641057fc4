"""The link to a conversation over the API: make, look at, replace, revoke."""

import re

from django.test import override_settings

from streaming_chat.accounts.permissions import Permissions
from streaming_chat.chats.deletion import delete_for_owner
from streaming_chat.conf import SETTINGS
from streaming_chat.models import ShareLink
from tests.factories import make_conversation, make_live, make_message, make_reply, make_user
from tests.native import Api, ApiTestCase, error_of


class NoSharing(Permissions):
    """Nobody may share anything."""

    def may_share(self, request, owner, conversation):
        return False


class AllMayShare(Permissions):
    """Visitors, too."""

    def may_share(self, request, owner, conversation):
        return True


def backend(of):
    return override_settings(STREAMING_CHAT_PERMISSIONS={"BACKEND": f"{__name__}.{of.__name__}"})


@override_settings(STREAMING_CHAT_SHARING=True)
class SharingTestCase(ApiTestCase):
    def setUp(self):
        super().setUp()
        self.conversation = make_conversation()
        self.reply = make_reply(self.conversation)
        self.path = f"api/conversations/{self.conversation.pk}/share"


class MakeTests(SharingTestCase):
    def test_the_answer_has_the_address(self):
        response = self.api.post(self.path)
        made = response.json()

        assert response.status_code == 201
        assert set(made) == {"url", "shared_at", "message"}
        assert re.fullmatch(r"http://testserver/chat/shared/[\w-]{43}", made["url"])
        assert made["message"] == str(self.reply.pk)
        assert response.headers["Cache-Control"] == "no-store"

    def test_no_later_answer_and_no_row_has_the_token(self):
        made = self.api.post(self.path).json()
        token = made.pop("url").rpartition("/")[2]
        found = self.api.get(self.path)

        assert found.json() == made
        (row,) = ShareLink.objects.values_list()
        assert token not in str(row)

    def test_two_links_have_nothing_in_common(self):
        first, second = (self.api.post(self.path).json()["url"].rpartition("/")[2] for _ in range(2))

        assert sum(one == other for one, other in zip(first, second, strict=True)) < 10

    def test_a_new_link_replaces_the_one_before(self):
        first, second = (self.api.post(self.path).json()["url"] for _ in range(2))

        assert Api().client.get(first).status_code == 404
        assert Api().client.get(second).status_code == 200
        assert ShareLink.objects.count() == 1

    def test_a_body_may_be_missing_and_has_no_fields(self):
        assert self.api.client.generic("POST", f"/chat/{self.path}").status_code == 201
        assert error_of(self.api.post(self.path, {"message": str(self.reply.pk)}))["code"] == "invalid"


class RefusalTests(SharingTestCase):
    def refused(self, api=None):
        response = (api or self.api).post(self.path)

        assert not ShareLink.objects.exists()
        return response.status_code, error_of(response)["code"]

    def test_the_setting_is_off(self):
        with override_settings(STREAMING_CHAT_SHARING=False):
            assert self.refused() == (404, "not_found")
            assert self.api.get(self.path).status_code == 404

    def test_by_default_it_is_off(self):
        assert SETTINGS["STREAMING_CHAT_SHARING"].default is False

    def test_the_permissions_do_not_allow_it(self):
        with backend(NoSharing):
            assert self.refused() == (403, "forbidden")

    def test_another_owners(self):
        assert self.refused(Api(make_user("bo"))) == (404, "not_found")

    def test_a_deleted_conversation(self):
        delete_for_owner(self.conversation.pk)

        assert self.refused() == (404, "not_found")

    def test_a_live_reply(self):
        live = make_live(self.conversation)
        response = self.api.post(self.path)

        assert (response.status_code, error_of(response)["reply"]) == (409, str(live.pk))

    def test_no_messages(self):
        self.path = f"api/conversations/{make_conversation().pk}/share"

        assert self.refused() == (422, "invalid")

    @override_settings(STREAMING_CHAT_ALLOW_ANONYMOUS=True)
    def test_a_visitor(self):
        """Unless the site says so."""
        visitor = Api()
        self.path = f"api/conversations/{visitor.reply().conversation_id}/share"

        assert self.refused(visitor) == (403, "forbidden")
        with backend(AllMayShare):
            assert visitor.post(self.path).status_code == 201


class RevokeTests(SharingTestCase):
    def test_the_page_is_gone(self):
        url = self.api.post(self.path).json()["url"]
        response = self.api.delete(self.path)

        assert response.status_code == 204
        assert Api().client.get(url).status_code == 404
        assert self.api.get(self.path).json() == {"shared_at": None, "message": None}

    def test_without_a_link(self):
        assert self.api.delete(self.path).status_code == 204

    def test_where_nothing_may_be_shared_any_more(self):
        self.api.post(self.path)
        with override_settings(STREAMING_CHAT_SHARING=False), backend(NoSharing):
            assert self.api.delete(self.path).status_code == 204

        assert not ShareLink.objects.exists()

    def test_another_owners_stays(self):
        self.api.post(self.path)

        assert Api(make_user("bo")).delete(self.path).status_code == 404
        assert ShareLink.objects.exists()


class ElementTests(SharingTestCase):
    def test_the_menu_has_it_where_it_is_allowed(self):
        item = b'data-action="share"'

        assert item in self.api.get("").content
        with backend(NoSharing):
            assert item not in self.api.get("").content
        with override_settings(STREAMING_CHAT_SHARING=False):
            assert item not in self.api.get("").content


class LaterTests(SharingTestCase):
    def test_the_state_says_where_the_link_ends(self):
        self.api.post(self.path)
        make_message(self.conversation, "Later")
        make_reply(self.conversation, "Later still")

        assert self.api.get(self.path).json()["message"] == str(self.reply.pk)
