"""The page that a share link shows: to whom, what, for how long, and where its address is not."""

import logging
from datetime import timedelta

from django.contrib.auth import get_user_model
from django.test import override_settings

from streaming_chat.accounts.owners import Owner
from streaming_chat.chats.deletion import delete_for_owner, restore
from streaming_chat.chats.sharing import share
from streaming_chat.models import Conversation, Message, ShareLink
from streaming_chat.privacy import erasures
from streaming_chat.privacy.redactions import redact
from tests.factories import make_conversation, make_message, make_reply, make_user
from tests.hostile import CANARY, HOSTILE
from tests.native import Api, ApiTestCase
from tests.rendering.test_markdown import Elements

PARTS = [
    {"kind": "reasoning", "text": "It is autumn."},
    {"kind": "text", "text": "Yes, **today**, unseen."},
    {
        "kind": "source",
        "url": "https://weather.example",
        "title": "Weather",
        "id": "",
        "text": "",
        "origin": "provider",
    },
]


@override_settings(STREAMING_CHAT_SHARING=True)
class SharedTestCase(ApiTestCase):
    def setUp(self):
        super().setUp()
        get_user_model().objects.filter(pk=self.user.pk).update(first_name="Annabel", last_name="Lee")
        hidden = {"system_prompt": "Rosebud", "metadata": {"page": "Rosebud"}}
        self.conversation = make_conversation(title="Rain in Lisbon", **hidden)
        self.question = make_message(self.conversation, "Will it rain?")
        self.reply = make_reply(self.conversation, parts=PARTS[:2], cut_position=1 + 13 + 14)
        self.token = share(self.conversation).token
        # A reader without cookies.
        self.reader = Api()

    def read(self, query="", token=""):
        return self.reader.get(f"shared/{token or self.token}{query}")

    def text(self, query=""):
        response = self.read(query)

        assert response.status_code == 200
        return response.content.decode()

    def assert_gone(self):
        response = self.read()

        assert response.status_code == 404
        assert "This link is no longer valid." in response.content.decode()
        assert "Rain" not in response.content.decode()
        assert response.headers["X-Robots-Tag"] == "noindex, nofollow"


class ContentTests(SharedTestCase):
    def test_it_has_what_its_owner_sees(self):
        text = self.text()

        assert "<h1" in text
        assert "Rain in Lisbon" in text
        assert "Will it rain?" in text
        assert "<strong>today</strong>" in text
        assert "It is autumn." in text
        assert "unseen" not in text

    def test_it_has_sources_and_tool_calls(self):
        call = {"kind": "tool_call", "id": "1", "name": "look_up", "arguments": '{"city": "Lisbon"}', "complete": True}
        make_reply(self.conversation, parts=[*PARTS, call])
        self.token = share(Conversation.objects.get(pk=self.conversation.pk)).token
        text = self.text()

        assert 'href="https://weather.example"' in text
        assert "look_up" in text

    def test_nothing_is_about_its_owner(self):
        text = self.text()

        of_owner = ("ana", "Annabel", "Lee", "ana@example.com", self.conversation.owner_key)

        for name in (*of_owner, "Rosebud", str(self.conversation.pk)):
            assert name not in text, name

    def test_neither_later_messages_nor_other_branches_are_shown(self):
        self.conversation.refresh_from_db()
        make_message(self.conversation, "Later")
        make_reply(self.conversation, "Another version", parent=self.question)
        other = make_message(self.conversation, "Another beginning", parent=None)
        Conversation.objects.filter(pk=self.conversation.pk).update(head=other)

        for query in ("", *(f"?before={pk}" for pk in Message.objects.values_list("pk", flat=True))):
            text = self.text(query)
            assert not [said for said in ("Later", "Another") if said in text], query

    def test_other_conversations_cannot_be_reached(self):
        other = make_reply(make_conversation(title="Private"), "Private")

        assert "Private" not in self.text(f"?before={other.pk}&format={other.pk}")

    def test_a_long_branch_has_pages(self):
        for number in range(40):
            make_reply(self.conversation, f"Reply {number}")
        self.token = share(Conversation.objects.get(pk=self.conversation.pk)).token
        newest = self.text()
        (link,) = [
            attributes["href"]
            for tag, attributes in Elements(newest).found
            if tag == "a" and "before=" in (attributes.get("href") or "")
        ]
        earlier = self.text(link)

        assert "Reply 39" in newest
        assert "today" not in newest
        assert "<strong>today</strong>" in earlier
        assert "Reply 39" not in earlier

    def test_nothing_that_was_written_runs(self):
        for text in HOSTILE.values():
            conversation = make_conversation(title=text[:200])
            make_message(conversation, text)
            make_reply(conversation, text)
            page = self.read(token=share(conversation).token).content.decode()
            with self.subTest(text):
                for tag, attributes in Elements(page).found:
                    assert tag not in {"script", "iframe", "object", "embed", "svg", "form", "base", "style", "video"}
                    assert not [name for name in attributes if name.startswith("on")]
                    assert not (attributes.get("href") or "").startswith(("javascript:", "data:", "vbscript:"))
                    assert not (attributes.get("src") or "").startswith(CANARY)


class GoneTests(SharedTestCase):
    def test_an_unknown_token(self):
        near = (self.token[:-1], f"{self.token}x", f"{self.token}/", self.token.swapcase())
        for token in ("x" * 43, *near, "é", "%00", "%FF", str(self.conversation.pk)):
            with self.subTest(token):
                assert self.read(token=token).status_code == 404

    def test_the_digest_is_no_token(self):
        assert self.read(token=ShareLink.objects.get().token_digest).status_code == 404

    def test_a_deleted_conversation_and_a_restored_one(self):
        delete_for_owner(self.conversation.pk)
        self.assert_gone()
        restore(self.conversation.pk, timedelta(seconds=60))

        assert "Will it rain?" in self.text()

    def test_an_erased_owner(self):
        list(erasures.erase(Owner(self.user, self.conversation.owner_key)))

        self.assert_gone()
        assert not ShareLink.objects.exists()

    def test_a_removed_conversation_and_a_removed_message(self):
        self.conversation.delete()

        self.assert_gone()
        assert not ShareLink.objects.exists()

    def test_a_deactivated_owner(self):
        get_user_model().objects.filter(pk=self.user.pk).update(is_active=False)

        self.assert_gone()

    def test_the_setting_is_off(self):
        with override_settings(STREAMING_CHAT_SHARING=False):
            self.assert_gone()

    def test_what_is_redacted_is_gone_at_once(self):
        redact(self.reply.pk, make_user("auditor"))
        text = self.text()

        assert "[redacted]" in text
        assert not [said for said in ("today", "autumn") if said in text]


class ResponseTests(SharedTestCase):
    def test_no_search_engine_no_cache_and_no_other_site_gets_the_address(self):
        response = self.read()

        assert response.headers["Cache-Control"] == "private, no-store"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert response.headers["X-Robots-Tag"] == "noindex, nofollow"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert ("meta", {"name": "robots", "content": "noindex, nofollow"}) in Elements(response.content.decode()).found

    def test_it_is_the_same_for_its_owner(self):
        mine = self.api.get(f"shared/{self.token}").content

        assert b"Will it rain?" in mine
        assert b"<form" not in self.reader.get(f"shared/{self.token}").content

    def test_only_get_and_head(self):
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            assert self.reader.ask(method, f"shared/{self.token}").status_code == 405
        assert self.reader.client.head(f"/chat/shared/{self.token}").status_code == 200

    def test_a_reader_gets_no_cookie(self):
        with override_settings(STREAMING_CHAT_ALLOW_ANONYMOUS=True):
            assert not self.read().cookies

    def test_no_log_has_the_token(self):
        """Django logs the address of each error."""
        self.api.delete(f"api/conversations/{self.conversation.pk}/share")
        with self.assertLogs(level=logging.DEBUG) as logged:
            logging.getLogger("tests").info("The log is read.")
            self.assert_gone()
            self.read(token=f"{self.token}/")

        assert len(logged.output) >= 1
        assert not [line for line in logged.output if self.token in line]
