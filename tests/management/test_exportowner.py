"""`manage.py exportowner`."""

import json
import stat
from io import StringIO

from django.core.management import CommandError, call_command

from streaming_chat.chats.deletion import delete_for_owner
from streaming_chat.models import AccessRecord, Conversation, Feedback, QuotaUse
from tests.factories import make_conversation, make_reply, make_user
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

    def test_a_visitor_by_their_key(self):
        Conversation.objects.create(owner_key="v:1", title="a")

        assert [line["title"] for line in self.export("v:1")["conversations"]] == ["a"]

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
