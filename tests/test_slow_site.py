"""A site's own code that takes long for one user holds up nobody else: it runs while nothing is locked. Real uvicorn."""

from __future__ import annotations

import threading
from typing import Any

from django.test import override_settings

from streaming_chat.accounts.permissions import Permissions
from streaming_chat.models import Conversation, Message
from streaming_chat.quotas import Quota

from .factories import make_conversation, make_reply, make_user
from .provider_server import TIMEOUT
from .servers import Browser, Exchange, ServerTestCase


class Hold:
    """Holds the code of the site at one place, for one user, once. calls: the places where it was, for that user."""

    def __init__(self, user: Any, place: str) -> None:
        self.user, self.place = user, place
        self.calls: list[str] = []
        self.reached, self.let_go = threading.Event(), threading.Event()

    def pass_by(self, place: str, user: Any) -> None:
        if user == self.user:
            self.calls.append(place)
            if place == self.place:
                self.reached.set()
                assert self.let_go.wait(TIMEOUT)


hold: Hold


class SlowPermissions(Permissions):
    def may_send(self, request: Any, owner: Any, conversation: Any) -> bool:
        hold.pass_by("may_send", owner.user)
        return True

    def may_use_model(self, request: Any, owner: Any, model: str) -> bool:
        hold.pass_by("may_use_model", owner.user)
        return True


class SlowQuota(Quota):
    def plan(self, request: Any, owner_key: str, **tokens: int) -> Any:
        hold.pass_by("plan", request.user)
        return {}


def prompt(request: Any, conversation: Any, messages: Any) -> Any:
    hold.pass_by("prompt", request.user)
    return "", messages


PLACES = ["may_send", "may_use_model", "prompt", "plan"]


@override_settings(
    STREAMING_CHAT_PROMPT=f"{__name__}.prompt",
    STREAMING_CHAT_PERMISSIONS={"BACKEND": f"{__name__}.SlowPermissions"},
    STREAMING_CHAT_QUOTA={"BACKEND": f"{__name__}.SlowQuota"},
)
class SlowSiteTests(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.other = Browser(self.server.port, make_user("ben"))
        self.addCleanup(self.other.close)

    def hold(self, place: str) -> Hold:
        global hold  # noqa: PLW0603  (the settings name functions of this module)
        hold = Hold(self.browser.user, place)
        self.addCleanup(hold.let_go.set)
        return hold

    def path(self, conversation: Conversation) -> str:
        return f"api/conversations/{conversation.pk}/messages"

    def check_others_send(self, held: Hold, slow: Exchange) -> None:
        assert held.reached.wait(TIMEOUT)
        for exchange in (self.other.send("Hello"), self.other.post(self.path(self.others), {"content": "Hello"})):
            assert exchange.rest().endings[0].event == "done"
        held.let_go.set()
        assert slow.rest().endings[0].event == "done"
        # Each once: none of them is asked again in the transaction.
        assert held.calls == PLACES

    def test_another_user_sends_meanwhile(self):
        self.others = make_conversation(self.other.user)
        for place in PLACES:
            conversation = make_reply(make_conversation(self.browser.user)).conversation
            for path in ("api/messages", self.path(conversation)):
                with self.subTest(place=place, path=path):
                    held = self.hold(place)
                    self.check_others_send(held, self.browser.post(path, {"content": "Hi"}))

    def test_what_the_user_changes_meanwhile_is_not_undone(self):
        conversation = make_reply(make_conversation(self.browser.user)).conversation
        first = conversation.head
        second = make_reply(conversation, "Another.", parent=first.parent)
        held = self.hold("prompt")
        slow = self.browser.post(self.path(conversation), {"content": "Hi"})
        assert held.reached.wait(TIMEOUT)
        changed = self.browser.request(
            "PATCH", f"api/conversations/{conversation.pk}", {"title": "Snow", "head": str(first.pk)}
        )
        assert changed.status == 200
        held.let_go.set()
        reply = Message.objects.get(pk=slow.rest().message_id)
        conversation.refresh_from_db()

        assert second.pk != first.pk
        assert (conversation.title, conversation.head_id, conversation.message_count) == ("Snow", reply.pk, 5)
        assert reply.parent.parent == first
        # Prepared again.
        assert held.calls == PLACES * 2

    def test_a_conversation_that_is_deleted_meanwhile(self):
        conversation = make_reply(make_conversation(self.browser.user)).conversation
        held = self.hold("prompt")
        slow = self.browser.post(self.path(conversation), {"content": "Hi"})
        assert held.reached.wait(TIMEOUT)
        assert self.browser.request("DELETE", f"api/conversations/{conversation.pk}").status == 204
        held.let_go.set()

        assert slow.status == 404
        assert Message.objects.count() == 2

    def test_the_same_request_twice_at_once_is_one_reply(self):
        """The second one finds a conversation that has changed, or a client_id that is taken."""
        conversation = make_reply(make_conversation(self.browser.user)).conversation
        for client_id, path in (("new", "api/messages"), ("stored", self.path(conversation))):
            held = self.hold("prompt")
            body = {"content": "Hi", "client_id": client_id}
            slow = self.browser.post(path, body)
            assert held.reached.wait(TIMEOUT)
            held.place = ""
            quick = self.browser.post(path, body).rest()
            held.let_go.set()

            assert slow.rest().message_id == quick.message_id
        assert len(self.provider.calls) == 2
