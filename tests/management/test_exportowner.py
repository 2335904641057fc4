"""`manage.py exportowner`."""

import json
import stat
from io import StringIO

from django.core.management import CommandError, call_command
from django.utils.dateparse import parse_datetime

from streaming_chat.chats.deletion import delete_for_owner
from streaming_chat.chats.sharing import share
from streaming_chat.models import (
    AccessRecord,
    AccessToken,
    BlockedOwner,
    Conversation,
    DailyOwnerUsage,
    Feedback,
    QuotaUse,
    ShareLink,
)
from streaming_chat.privacy.blocking import block
from tests.factories import make_call, make_conversation, make_reply, make_token, make_user
from tests.management.base import FolderTestCase


class ExportOwnerTests(FolderTestCase):
    def export(self, owner):
        out = StringIO()
        call_command("exportowner", owner, stdout=out)
        return json.loads(out.getvalue())

    def test_it_is_all_there_is_of_one_owner(self):
        for number in range(5):
            reply = make_reply(make_conversation(title=f"{number}\n"), f"Reply {number}")
        Feedback.objects.create(message=reply, value=-1, comment="Wrong", by=make_user(), owner_key="u:1")
        delete_for_owner(reply.conversation.pk)
        make_reply(make_conversation(make_user("bo")), "Of bo")
        key = f"u:{make_user().pk}"
        QuotaUse.objects.create(day="2026-11-28", key=f"owner {key}", replies=3, tokens=40)
        found = self.export("ana")

        assert (found["owner"], found["username"]) == (key, "ana")
        assert found["quota_uses"] == [{"day": "2026-11-28", "replies": 3, "tokens": 40}]
        assert [line["messages"][1]["text"] for line in found["conversations"]] == [f"Reply {n}" for n in range(5)]
        assert found["conversations"][4]["deleted_at"]
        assert found["conversations"][4]["messages"][1]["feedback"][0]["comment"] == "Wrong"
        assert AccessRecord.objects.get().owner_key == key

    def test_tool_calls_without_the_names_of_staff(self):
        reply = make_reply(make_conversation())
        for by in (make_user(), make_user("bo"), None):
            make_call(reply, by=by, answered_at=reply.created_at, answer={"approved": True})
        (line,) = self.export("ana")["conversations"]
        calls = line["messages"][1]["tool_calls"]

        assert [call["answered_by"] for call in calls] == ["ana", None, None]
        assert (calls[0]["name"], calls[0]["arguments"], calls[0]["output"]) == ("refund", '{"order": 7}', "refunded 7")

    def test_access_tokens_without_what_recognises_them(self):
        text = make_token(expires_at=parse_datetime("2027-01-02T03:04:05Z"))
        make_token(name="Laptop", scope="read")
        make_token(make_user("bo"), name="Of bo")
        AccessToken.objects.filter(name="Laptop").update(last_used_at=parse_datetime("2026-11-28T03:04:05Z"))
        row = AccessToken.objects.get(name="Phone")
        found = self.export("ana")
        phone, laptop = found["access_tokens"]

        assert phone == {
            "token": text[:11],
            "name": "Phone",
            "scope": "chat",
            "created_at": row.created_at.isoformat(),
            "expires_at": "2027-01-02T03:04:05+00:00",
            "last_used_at": None,
        }
        assert (laptop["name"], laptop["scope"], laptop["expires_at"]) == ("Laptop", "read", None)
        assert laptop["last_used_at"] == "2026-11-28T03:04:05+00:00"
        assert text[12:] not in json.dumps(found)
        assert row.digest not in json.dumps(found)

    def test_shared_links_without_what_recognises_them(self):
        for user in (make_user(), make_user("bo")):
            share(make_reply(make_conversation(user)).conversation)
        link = ShareLink.objects.get(conversation__owner__username="ana")
        found = self.export("ana")

        assert found["shared_links"] == [
            {
                "conversation": str(link.conversation_id),
                "message": str(link.message_id),
                "created_at": link.created_at.isoformat(),
            }
        ]
        assert link.token_digest not in json.dumps(found)

    def test_what_they_used_and_that_they_are_blocked(self):
        key = f"u:{make_user().pk}"
        block(key, "Spam", make_user("rita"))
        DailyOwnerUsage.objects.create(day="2026-11-28", owner_key=key, replies=3, input_tokens=40, cost="0.5")
        DailyOwnerUsage.objects.create(day="2026-11-28", owner_key="u:0", replies=3)
        found = self.export("ana")

        assert found["daily_usage"] == [
            {"day": "2026-11-28", "replies": 3, "input_tokens": 40, "output_tokens": 0, "cost": "0.50000000"}
        ]
        assert found["blocked"] == {"at": BlockedOwner.objects.get().at.isoformat(), "reason": "Spam"}

    def test_that_they_are_not_blocked(self):
        make_user()

        assert self.export("ana")["blocked"] is None

    def test_a_visitor_by_their_key(self):
        Conversation.objects.create(owner_key="v:1", title="a")
        make_token()
        found = self.export("v:1")

        assert [line["title"] for line in found["conversations"]] == ["a"]
        assert (found["access_tokens"], found["shared_links"]) == ([], [])

    def test_an_owner_of_nothing(self):
        make_user()

        assert self.export("ana")["conversations"] == []

    def test_nobody(self):
        for name in ("nobody", "v:2", "u:0", "u:x", "u:"):
            with self.subTest(name), self.assertRaises(CommandError):
                self.export(name)

    def test_into_a_file_that_is_new(self):
        make_conversation()
        call_command("exportowner", "ana", "--output", str(self.path))

        assert stat.S_IMODE(self.path.stat().st_mode) == 0o600
        assert json.loads(self.path.read_text())["username"] == "ana"
        with self.assertRaises(CommandError):
            call_command("exportowner", "ana", "--output", str(self.path))
