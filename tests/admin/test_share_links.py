"""The list of links to shared conversations, and revoking one: for whom, and what is on record."""

from django.test import TestCase, override_settings

from streaming_chat.chats.sharing import share
from streaming_chat.models import AccessRecord, ShareLink
from tests.factories import make_conversation, make_reply, make_staff, make_user

LIST = "/admin/streaming_chat/sharelink/"


@override_settings(STREAMING_CHAT_SHARING=True)
class ShareLinkTests(TestCase):
    def setUp(self):
        self.staff = make_staff("staff", "view_conversation", "revoke_link")
        self.client.force_login(self.staff)
        self.conversation = make_conversation(title="Rosebud")
        make_reply(self.conversation)
        self.token = share(self.conversation).token
        self.revoke = f"{LIST}{self.conversation.pk}/revoke/"
        self.transcript = f"/admin/streaming_chat/conversation/{self.conversation.pk}/change/"

    def test_the_list_says_whose_and_which_without_text(self):
        text = self.client.get(LIST).content.decode()

        assert "ana" in text
        assert str(self.conversation.pk) in text
        assert f'formaction="{self.revoke}"' in text
        assert "Rosebud" not in text
        assert self.token not in text

    def test_a_search_by_conversation_and_by_owner(self):
        other = make_conversation(make_user("bo"))
        make_reply(other)
        share(other)
        for words in (str(other.pk), other.owner_key):
            text = self.client.get(self.client.post(f"{LIST}find/", {"q": words}).url).content.decode()

            assert str(other.pk) in text
            assert str(self.conversation.pk) not in text

    def test_a_link_is_revoked_from_the_list_and_that_is_recorded(self):
        response = self.client.post(self.revoke, follow=True)

        assert response.redirect_chain == [(LIST, 302)]
        assert "The link is revoked." in response.content.decode()
        assert not ShareLink.objects.exists()
        (record,) = AccessRecord.objects.filter(kind="revoke")
        assert (record.by_name, record.conversation) == ("staff", self.conversation.pk)

    def test_a_link_is_revoked_from_the_transcript(self):
        text = self.client.get(self.transcript).content.decode()
        response = self.client.post(self.revoke, {"transcript": "yes"})

        assert "Its owner shared this conversation with a link: " in text
        assert f'action="{self.revoke}"' in text
        assert response.url == self.transcript
        assert "shared this conversation" not in self.client.get(self.transcript).content.decode()

    def test_revoking_again_does_nothing(self):
        self.client.post(self.revoke)
        self.client.post(self.revoke)

        assert AccessRecord.objects.filter(kind="revoke").count() == 1

    def test_staff_without_the_permission_only_see_it(self):
        self.client.force_login(make_staff("clerk", "view_conversation"))

        assert "formaction" not in self.client.get(LIST).content.decode()
        assert self.client.post(self.revoke).status_code == 403
        assert ShareLink.objects.exists()
