"""The pages about owners in the admin, and what is done there: what it changes, what is on record, how it is undone."""

import json
from decimal import Decimal
from unittest import mock

from django.contrib.auth.models import Permission
from django.urls import resolve

from streaming_chat.admin import owner_actions
from streaming_chat.models import AccessRecord, AccessToken, BlockedOwner, Conversation, DailyOwnerUsage, Message
from streaming_chat.privacy.blocking import block
from tests.admin.base import LIST, AdminTestCase, transcript_url
from tests.admin.test_dashboard import harm_in
from tests.factories import make_conversation, make_reply, make_staff, make_token, make_user
from tests.hostile import CANARY, HOSTILE
from tests.usage.factories import add_reply, ago

OWNERS = f"{LIST}owners/"
VISITOR = f"v:{'0' * 64}"


def page_of(owner_key, action=""):
    return f"{LIST}owner/{owner_key}/{action}"


class OwnerTestCase(AdminTestCase):
    def setUp(self):
        super().setUp()
        self.ana = make_user()
        self.key = f"u:{self.ana.pk}"

    def post(self, action, key="", **form):
        return self.client.post(page_of(key or self.key, f"{action}/"), form, follow=True)

    def last_record(self):
        found = AccessRecord.objects.order_by("-pk").first()
        return found and (found.kind, found.by_name, found.owner_key, found.count)


class OwnersPageTests(OwnerTestCase):
    permissions = ("view_conversation",)

    def test_who_used_the_most_with_links_to_them(self):
        add_reply(ago(0), input_tokens=1200, cost=Decimal("1.5"))
        DailyOwnerUsage.objects.create(day=ago(3), owner_key=VISITOR, replies=2, cost=Decimal("2.5"))
        html = self.client.get(OWNERS).content.decode()
        text = self.text_of(OWNERS)

        assert "visitor v:00000000 2 0 0 $2.50 0 ana 1 1,200 0 $1.50 0" in text
        assert f'href="{page_of(self.key)}"' in html
        assert f'href="{page_of(VISITOR)}"' in html

    def test_the_days_are_chosen(self):
        DailyOwnerUsage.objects.create(day=ago(20), owner_key=VISITOR, replies=2)

        assert "visitor v:" in self.text_of(OWNERS)
        assert "visitor v:" not in self.text_of(f"{OWNERS}?days=7")

    def test_who_is_blocked_without_the_reason(self):
        block(self.key, "Rosebud", make_staff("rita"))
        text = self.text_of(OWNERS)

        assert "rita" in text
        assert "Rosebud" not in text

    def test_the_list_and_the_statistics_lead_there(self):
        for page in (LIST, f"{LIST}numbers/"):
            assert f'href="{OWNERS}' in self.client.get(page).content.decode()

    def test_nothing_runs_whatever_names_and_reasons_are(self):
        self.client.force_login(make_staff("staff", "view_conversation", "block_owner"))
        self.ana.username = CANARY
        self.ana.save()
        block(self.key, " ".join(HOSTILE.values())[:1_000], self.ana)
        for page in (OWNERS, page_of(self.key)):
            assert harm_in(self.client.get(page).content.decode()) == []


class OwnerPageTests(OwnerTestCase):
    permissions = ("view_conversation",)

    def test_it_has_the_sums_of_all_and_of_the_days(self):
        make_conversation(message_count=4, input_tokens=312, output_tokens=20, cost=Decimal("0.5"))
        add_reply(ago(0), input_tokens=12, output_tokens=7, cost=Decimal("0.25"))
        text = self.text_of(page_of(self.key))

        assert "Conversations 2 Messages 6 Input tokens 312 Output tokens 20 Cost $0.50" in text
        assert "Replies 1 Input tokens 12 Output tokens 7 Cost $0.25" in text

    def test_the_lists_and_the_transcript_lead_there(self):
        conversation = make_reply(make_conversation()).conversation
        for page in (LIST, "/admin/streaming_chat/message/", transcript_url(conversation)):
            assert f'href="{page_of(self.key)}"' in self.client.get(page).content.decode()

    def test_the_transcript_says_that_the_owner_is_blocked(self):
        conversation = make_reply(make_conversation()).conversation

        assert "Blocked from chatting" not in self.text_of(transcript_url(conversation))
        block(self.key, "Spam", make_staff("rita"))
        assert "ana Blocked from chatting" in self.text_of(transcript_url(conversation))

    def test_it_leads_to_the_account_if_that_may_be_seen(self):
        account = f'href="/admin/auth/user/{self.ana.pk}/change/"'

        assert account not in self.client.get(page_of(self.key)).content.decode()
        staff = make_staff("other", "view_conversation")
        staff.user_permissions.add(Permission.objects.get(codename="view_user"))
        self.client.force_login(staff)
        assert account in self.client.get(page_of(self.key)).content.decode()

    def test_a_visitor(self):
        Conversation.objects.create(owner_key=VISITOR)

        assert "visitor v:00000000" in self.text_of(page_of(VISITOR))

    def test_nobody(self):
        """Nor is there a page for another spelling of a user's key: a block of it would block nobody."""
        for key in ("u:0", "u:x", "u:", VISITOR, "x", "u:%00", "v:%00", f"u:0{self.ana.pk}", f"u:%20{self.ana.pk}"):
            with self.subTest(key):
                assert self.client.get(page_of(key)).status_code == 404

    def test_queries(self):
        make_reply(make_conversation())
        self.assert_queries(10, page_of(self.key))
        self.assert_queries(10, OWNERS)


class BlockTests(OwnerTestCase):
    permissions = ("view_conversation", "block_owner")

    def test_a_block_says_who_when_and_why_and_is_recorded(self):
        response = self.post("block", reason=" Spam\n")
        blocked = BlockedOwner.objects.get()

        assert (blocked.owner_key, blocked.reason, blocked.by_name) == (self.key, "Spam", "staff")
        assert self.last_record() == ("block", "staff", self.key, None)
        self.assertContains(response, "Chatting is blocked for ana.")
        self.assertContains(response, "Spam")

    def test_it_takes_a_reason(self):
        for reason in ({}, {"reason": " "}):
            self.assertContains(self.post("block", **reason), "Enter the reason for the block.")
        assert not BlockedOwner.objects.exists()
        assert not AccessRecord.objects.exists()

    def test_unblocking_is_recorded(self):
        block(self.key, "Spam", self.ana)
        response = self.post("unblock")

        assert not BlockedOwner.objects.exists()
        assert self.last_record() == ("unblock", "staff", self.key, None)
        self.assertContains(response, "Chatting is allowed again for ana.")

    def test_unblocking_again_does_nothing(self):
        self.post("unblock")

        assert not AccessRecord.objects.exists()

    def test_a_visitor_of_whom_nothing_is_left_can_be_unblocked(self):
        block(VISITOR, "Spam", self.ana)

        self.assertContains(self.client.get(page_of(VISITOR)), "Unblock")

    def test_nobody(self):
        for key in ("u:0", "v:%00", f"u:0{self.ana.pk}"):
            with self.subTest(key):
                assert self.post("block", key, reason="Spam").status_code == 404
        assert not BlockedOwner.objects.exists()

    def test_a_long_reason_is_cut(self):
        self.post("block", reason="x" * 2_000)

        assert len(BlockedOwner.objects.get().reason) == 1_000


class ExportTests(OwnerTestCase):
    permissions = ("view_conversation", "view_transcript", "export_owner")

    def test_it_is_the_file_of_the_command(self):
        make_reply(make_conversation(), "Yes.")
        make_token()
        response = self.client.post(page_of(self.key, "export/"), {"confirmation": "ana"})
        found = json.loads(b"".join(response))

        assert response["Content-Disposition"].startswith('attachment; filename="owner-')
        assert (found["owner"], found["username"], len(found["access_tokens"])) == (self.key, "ana", 1)
        assert found["conversations"][0]["messages"][1]["text"] == "Yes."
        assert self.last_record() == ("export", "staff", self.key, 1)

    def test_another_name_exports_nothing(self):
        for typed in ("", "Ana", "bo"):
            self.assertContains(self.post("export", confirmation=typed), "type “ana” to confirm")
        assert not AccessRecord.objects.filter(kind="export").exists()


class EraseTests(OwnerTestCase):
    permissions = ("view_conversation", "erase_owner")

    def test_it_erases_what_the_command_does(self):
        make_reply(make_conversation(), "Rosebud")
        make_token()
        others = make_conversation(make_user("bo"), title="b")
        response = self.post("erase", confirmation="ana")

        assert set(Conversation.objects.exclude(title="")) == {others}
        assert not Message.objects.filter(text="Rosebud").exists()
        assert not AccessToken.objects.exists()
        assert self.last_record() == ("erase", "staff", self.key, 1)
        self.assertContains(response, "Everything that ana wrote is erased.")

    def test_another_name_erases_nothing(self):
        conversation = make_conversation()
        for typed in ("", "Ana", "bo"):
            self.assertContains(self.post("erase", confirmation=typed), "type “ana” to confirm")
        conversation.refresh_from_db()
        assert conversation.erased_at is None
        assert not AccessRecord.objects.exists()

    def test_a_visitor_is_confirmed_by_the_beginning_of_the_key(self):
        Conversation.objects.create(owner_key=VISITOR, title="a")
        response = self.post("erase", VISITOR, confirmation=VISITOR[:10])

        assert Conversation.objects.get().erased_at
        assert response.redirect_chain == [(LIST, 302)]

    def test_what_takes_too_long_is_continued(self):
        """A page is 50 conversations; no time is left after the first."""
        for _number in range(60):
            make_conversation()
        with mock.patch.object(owner_actions, "_ERASE_SECONDS", 0):
            response = self.post("erase", confirmation="ana")

        assert response.status_code == 200
        self.assertContains(response, "10 conversations are not erased yet")
        self.assertContains(response, 'name="confirmation" value="ana"')
        self.assertContains(self.post("erase", confirmation="ana"), "Everything that ana wrote is erased.")
        assert not Conversation.objects.filter(erased_at=None).exists()

    def test_its_transactions_are_its_own(self):
        """Under ATOMIC_REQUESTS, too: a stop must be seen by the worker before the request ends."""
        view = resolve(page_of(self.key, "erase/")).func

        assert "default" in view._non_atomic_requests
