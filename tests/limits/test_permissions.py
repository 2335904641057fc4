"""Every way to read a reply ends when its reader may not read any more, however it was begun."""

from django.contrib.auth.models import Group
from django.test import override_settings

from streaming_chat.accounts.permissions import Permissions
from tests.factories import make_conversation, make_reply, make_staff, make_token
from tests.provider_server import Gate, Script
from tests.servers import Browser, Exchange, ServerTestCase, held

DELTAS = ("Hel", "lo ", "wörld")


class Members(Permissions):
    """A site where the members of a group may read."""

    def may_read(self, request, owner):
        return owner.user.groups.filter(name="members").exists()


@override_settings(STREAMING_CHAT_HEARTBEAT_SECONDS=0.5, STREAMING_CHAT_PERMISSIONS={"BACKEND": f"{__name__}.Members"})
class PermissionTests(ServerTestCase):
    def setUp(self):
        super().setUp()
        self.browser.user.groups.add(Group.objects.create(name="members"))
        self.gate = Gate()
        self.provider.default = Script(DELTAS, gates={2: self.gate})

    def test_each_stream_of_an_owner_ends_with_the_permission(self):
        conversation = make_conversation(self.browser.user)
        cut = make_reply(conversation, "Yes, ", status="stopped", end_reason="user")
        other = make_reply(make_conversation(self.browser.user))
        turns = {"messages": [{"role": "user", "content": "Hello?"}]}
        with held(self.gate):
            sent = self.browser.send("mine").until_text("Hello ")
            others = [self.browser.post(path, body, **headers) for path, body, headers in self.sends_of_other_apis()]
            assert [stream.status for stream in others] == [200] * len(others)
            others.append(self.browser.get("ai/chat/mine/stream"))
            streams = [
                sent,
                self.browser.follow(sent.message_id),
                self.browser.post("api/chat", turns),
                self.browser.post(f"api/messages/{other.pk}/regenerate"),
                self.browser.post(f"api/messages/{cut.pk}/continue"),
            ]
            assert [stream.status for stream in streams] == [200] * len(streams)
            self.browser.user.groups.clear()
            codes = [self.code(stream) for stream in streams]

            endings = [stream.body() for stream in others]

        assert codes == ["forbidden"] * len(streams)
        assert [b'"forbidden"' in ending for ending in endings] == [True] * len(others)

    def sends_of_other_apis(self):
        """Return the path, the body and the headers of a send for each."""
        messages = [{"id": "m", "role": "user", "content": "Hello?"}]
        bearer = {"Authorization": f"Bearer {make_token(self.browser.user)}"}
        turns = [{"role": "user", "content": "Hello?"}]
        return [
            ("ai/chat", {"id": "mine", "messages": messages}, {}),
            ("ai/ag_ui", {"threadId": "run", "runId": "r", "messages": messages}, {}),
            ("v1/chat/completions", {"model": "openai:any", "messages": turns, "stream": True}, bearer),
        ]

    def test_staff_are_disconnected_and_the_owner_reads_on(self):
        staff = Browser(self.server.port, make_staff("staff", "view_conversation", "view_transcript"))
        self.addCleanup(staff.close)
        with held(self.gate):
            sent = self.browser.send("mine").until_text("Hello ")
            conversation = sent.frames[0].data["conversation"]
            path = f"/admin/streaming_chat/conversation/{conversation}/messages/{sent.message_id}/events"
            followed = staff.get(path).until_text("Hello ")
            staff.user.user_permissions.clear()
            code = self.code(followed)
            self.gate.open()

            assert code == "forbidden"
            assert sent.rest().text == "Hello wörld"

    def code(self, stream: Exchange) -> str:
        """Read a stream to its end and return the code of its ending."""
        return stream.rest().endings[0].data["error"]["code"]
