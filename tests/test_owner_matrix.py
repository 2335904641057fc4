"""Every address × whoever is not its owner: nothing is shown, nothing is changed. A new address must be entered here."""

import uuid
from functools import cache, partial
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.db import models
from django.test import Client, override_settings

from streaming_chat.chats.deletion import delete_for_owner
from streaming_chat.chats.send_request import SendRequest
from streaming_chat.models import Conversation, Feedback, LiveReply, Message, ReplyEvent, ShareLink, ToolCall
from streaming_chat.protocol.events import Event
from streaming_chat.testing import ScriptedCall

from .factories import (
    make_conversation,
    make_live,
    make_message,
    make_reply,
    make_staff,
    make_token,
    make_user,
    make_waiting,
)
from .native import Api, ApiTestCase
from .routes import routes

# What an address has: nothing private; a page or data of its client; a person's conversation or message; a person's live
# reply, about which nothing is said, as about one that has ended; the admin, in which one address streams.
OPEN, PAGE, PAGE_OF, OWN, OF, ADMIN, TRANSCRIPTS = "open", "page", "page of", "own", "of", "admin", "transcripts"
LIVE, WATCH = "live", "watch"
# A page for users alone; an address for access tokens alone.
ACCOUNT, PROGRAM = "account", "program"
C, M, THEIRS = "<uuid:conversation_id>", "<uuid:message_id>", "<uuid:object_id>"
CALL = "<int:call>"
# The conversation's own id is one, too.
CHAT = "<path:chat_id>"
OWNER = "owner/<owner_key:owner_key>"
STOP = f"admin/streaming_chat/conversation/{THEIRS}/messages/{M}/stop/"
KINDS = {
    "": OPEN,
    "article/": OPEN,
    "accounts/login/": OPEN,
    "accounts/logout/": OPEN,
    "chat/health": OPEN,
    "admin/login/": OPEN,
    "chat/": PAGE,
    f"chat/c/{C}": PAGE_OF,
    "chat/tokens": ACCOUNT,
    "chat/api/conversations": OWN,
    "chat/api/conversations/search": OWN,
    f"chat/api/conversations/{C}": OF,
    f"chat/api/conversations/{C}/restore": OF,
    f"chat/api/conversations/{C}/export": OF,
    f"chat/api/conversations/{C}/share": OF,
    # Open to who has the token, and nobody here has.
    "chat/shared/<path:token>": OPEN,
    f"chat/api/conversations/{C}/messages": OF,
    "chat/api/messages": OWN,
    f"chat/api/messages/{M}": OF,
    f"chat/api/messages/{M}/html": OF,
    f"chat/api/messages/{M}/events": OF,
    f"chat/api/messages/{M}/stop": OF,
    f"chat/api/messages/{M}/answers": OF,
    f"chat/api/messages/{M}/regenerate": OF,
    f"chat/api/messages/{M}/continue": OF,
    f"chat/api/messages/{M}/feedback": OF,
    "chat/api/chat": OWN,
    f"chat/ai/chat/{CHAT}/stream": LIVE,
    f"chat/ai/chat/{CHAT}/stop": OF,
    f"chat/ai/chat/{CHAT}": OF,
    # After these: a send begins a chat with the id that it names.
    "chat/ai/chat": OWN,
    "chat/ai/ag_ui": OWN,
    "chat/v1/chat/completions": PROGRAM,
    "chat/v1/models": PROGRAM,
    "chat/^v1(?:/[\\s\\S]*)?\\Z": PROGRAM,
    "chat/api/claim": OWN,
    "chat/api/export": OWN,
    "chat/api/models": OWN,
    "chat/api/token": OWN,
    "chat/api/openapi.json": OWN,
    # It is there for chatdoctor's token alone.
    "chat/api/diagnosis": OF,
    "chat/^api(?:/[\\s\\S]*)?\\Z": OF,
    "admin/": ADMIN,
    "admin/logout/": ADMIN,
    "admin/password_change/": ADMIN,
    "admin/password_change/done/": ADMIN,
    "admin/autocomplete/": ADMIN,
    "admin/jsi18n/": ADMIN,
    "admin/r/<path:content_type_id>/<path:object_id>/": ADMIN,
    "admin/^(?P<app_label>streaming_chat|auth)/$": ADMIN,
    "admin/(?P<url>.*)$": ADMIN,
    "admin/auth/user/<id>/password/": ADMIN,
    **{
        f"admin/auth/{model}/{rest}": ADMIN
        for model in ("group", "user")
        for rest in ("", "add/", *(f"<path:object_id>/{action}" for action in ("", "history/", "delete/", "change/")))
    },
    **{
        f"admin/streaming_chat/conversation/{rest}": TRANSCRIPTS
        for rest in (
            *(
                "",
                "add/",
                "find/",
                "numbers/",
                "owners/",
                "search/",
                "review/next/",
                "review/numbers/",
                "<uuid:pk>/review/",
                "<uuid:pk>/review/undo/",
                "<uuid:pk>/review/notes/",
            ),
            *(f"<path:object_id>/{action}" for action in ("", "history/", "delete/", "change/")),
            *(f"{OWNER}/{action}" for action in ("", "block/", "unblock/", "export/", "erase/")),
        )
    },
    f"admin/streaming_chat/conversation/{THEIRS}/messages/{M}/events": WATCH,
    STOP: TRANSCRIPTS,
    "admin/streaming_chat/accessrecord/": ADMIN,
    "admin/streaming_chat/accessrecord/export/<str:form>/": ADMIN,
    "admin/streaming_chat/accessrecord/find/": ADMIN,
    "admin/streaming_chat/toollist/": ADMIN,
    "admin/streaming_chat/toollist/find/": ADMIN,
    "admin/streaming_chat/toolcall/": TRANSCRIPTS,
    "admin/streaming_chat/toolcall/find/": TRANSCRIPTS,
    f"admin/streaming_chat/toolcall/{CALL}/answer/": TRANSCRIPTS,
    "admin/streaming_chat/accesstoken/": ADMIN,
    "admin/streaming_chat/accesstoken/add/": ADMIN,
    "admin/streaming_chat/accesstoken/<path:object_id>/delete/": ADMIN,
    "admin/streaming_chat/feedback/": TRANSCRIPTS,
    "admin/streaming_chat/feedback/find/": TRANSCRIPTS,
    "admin/streaming_chat/sharelink/": TRANSCRIPTS,
    "admin/streaming_chat/sharelink/find/": TRANSCRIPTS,
    "admin/streaming_chat/sharelink/<uuid:link>/revoke/": TRANSCRIPTS,
    "admin/streaming_chat/message/": TRANSCRIPTS,
    "admin/streaming_chat/message/find/": TRANSCRIPTS,
    "admin/streaming_chat/conversation/export/<str:form>/": TRANSCRIPTS,
    f"admin/streaming_chat/conversation/{C}/export/<str:form>/": TRANSCRIPTS,
    f"admin/streaming_chat/conversation/{C}/messages/{M}/redact/": TRANSCRIPTS,
    f"admin/streaming_chat/conversation/{C}/redact/": TRANSCRIPTS,
}
# What visitors get, at rows of others; what is there for nobody who has an account.
VISITING = {
    PAGE: {200, 303},
    ACCOUNT: {302},
    PAGE_OF: {404},
    OF: {404},
    PROGRAM: {401},
    ADMIN: {302},
    TRANSCRIPTS: {302},
}
NOBODY = {
    PAGE: {302, 401},
    PAGE_OF: {302, 401},
    OWN: {401},
    PROGRAM: {401},
    ACCOUNT: {302},
    OF: {401},
    ADMIN: {302},
    TRANSCRIPTS: {302},
}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
SECRET = "Rosebud"
# What a client of ana's has said, and the ids that it has chosen.
SAID, CHAT_ID, RUN_ID, CLIENT_ID = "Mine", "theirs", "r", "sled"
HISTORY = [
    {"role": "user", "content": SAID},
    {"role": "assistant", "content": "Hello, world"},
    {"role": "user", "content": "Taken"},
]
# A body that its owner's request could have: the ids and texts of ana's clients, who is the owner.
BODIES: dict[str, Any] = {
    "PATCH chat/api/conversations/<uuid:conversation_id>": {"title": "Taken"},
    "PUT chat/api/messages/<uuid:message_id>/feedback": {"value": -1},
    "POST chat/api/messages/<uuid:message_id>/answers": {"answers": [{"call": "call_0", "approved": True}]},
    "POST chat/api/conversations/<uuid:conversation_id>/messages": {"content": "Taken"},
    "POST chat/api/messages": {"content": "Taken"},
    "POST chat/api/conversations/search": {"search": SECRET},
    "POST chat/ai/chat": {"id": CHAT_ID, "messages": [{"role": "user", "parts": [{"type": "text", "text": "Taken"}]}]},
    "POST chat/ai/ag_ui": {
        "threadId": CHAT_ID,
        "runId": RUN_ID,
        "messages": [{"id": "m", "role": "user", "content": "Taken"}],
    },
    "POST chat/v1/chat/completions": {"model": "scripted:model", "messages": HISTORY},
    "POST chat/api/chat": {"messages": HISTORY},
}
# What names a conversation in the body of a send.
NAMES = {"chat/ai/chat": "id", "chat/ai/ag_ui": "threadId"}
# Who asks as a visitor, in place of a user: one who has sent something, or who has not.
KNOWN, NEW = "known visitor", "new visitor"


@pytest.mark.slow
@override_settings(STREAMING_CHAT_SHARING=True)
class OwnerMatrixTests(ApiTestCase):
    maxDiff = None

    def setUp(self) -> None:
        super().setUp()
        self.visitor = Api()
        self.sessions: dict[int, str] = {}
        conversation = make_conversation(title=SECRET, system_prompt=SECRET)
        make_message(conversation, SECRET)
        made_by = SendRequest(client_id=CLIENT_ID, conversation_id=conversation.pk)
        reply = make_reply(conversation, SECRET, send_key=made_by.key(conversation.owner_key))
        Feedback.objects.create(message=reply, value=1, comment=SECRET, owner_key=conversation.owner_key)
        ShareLink.objects.create(conversation=conversation, message=reply, token_digest="0" * 64)
        live = make_live(make_conversation(title=SECRET), Event("text", SECRET))
        (self.call,) = make_waiting(make_conversation(title=SECRET), arguments=f'{{"word": "{SECRET}"}}')
        waiting = self.call.message
        deleted = make_conversation(title=SECRET)
        delete_for_owner(deleted.pk)
        self.tokens: dict[Any, str] = {}
        self.hold_chats()
        # Each of ana's rows that an address may name: ended, live, waiting for an answer, deleted.
        self.conversations = [conversation.pk, live.conversation_id, waiting.conversation_id, deleted.pk]
        self.live = {live.pk, waiting.pk}
        self.messages = [reply.pk, live.pk, waiting.pk]

    def hold_chats(self) -> None:
        """Let ana hold a chat with each kind of client that has its own ids, or none."""
        said = {"role": "user", "content": SAID}
        sent = [
            self.api.post("api/chat", {"messages": [said]}),
            self.api.post(
                "v1/chat/completions",
                {"model": "scripted:model", "messages": [said]},
                headers={"Authorization": f"Bearer {self.token_of(self.user)}", "Idempotency-Key": CLIENT_ID},
            ),
            self.api.post("ai/chat", {"id": CHAT_ID, "messages": [said]}),
            self.api.post("ai/ag_ui", {"threadId": f"ag {CHAT_ID}", "runId": RUN_ID, "messages": [said]}),
        ]

        assert [response.status_code for response in sent] == [200] * 4
        for response in sent:
            body(response)
        Conversation.objects.update(title=SECRET)

    def test_every_address_is_entered(self):
        assert set(routes()) == set(KINDS)

    def test_anonymous(self):
        self.check(None, NOBODY)

    def test_an_inactive_owner(self):
        self.check(self.user, NOBODY)

    def test_another_user(self):
        """Their own list is theirs: empty."""
        bo = make_user("bo")
        self.check(bo, {PAGE: {200, 303}, PAGE_OF: {404}, OF: {404}, ADMIN: {302}, TRANSCRIPTS: {302}})

    def test_staff_without_the_permission(self):
        staff = make_staff("clerk")
        self.check(staff, {PAGE: {200, 303}, PAGE_OF: {404}, OF: {404}, TRANSCRIPTS: {302, 403}})

    def test_staff_who_may_see_conversations_but_no_text(self):
        staff = make_staff("clerk", "view_conversation")
        self.check(staff, {PAGE: {200, 303}, PAGE_OF: {404}, OF: {404}, TRANSCRIPTS: {200, 302, 403}})

    def test_staff_who_read_transcripts_read_them_in_the_admin_only(self):
        staff = make_staff("auditor", "view_conversation", "view_transcript", "stop_reply")
        statuses = {PAGE: {200, 303}, PAGE_OF: {404}, OF: {404}, WATCH: {200}, TRANSCRIPTS: {200, 302, 403}}
        self.check(staff, statuses, reads=True)

    def test_visitors(self):
        """One who has a chat of their own, and one who has none yet, at a user's rows."""
        with override_settings(STREAMING_CHAT_ALLOW_ANONYMOUS=True):
            self.visitor.send("Mine")
            for visitor in (KNOWN, NEW):
                with self.subTest(visitor):
                    self.check(visitor, VISITING)

    def test_everybody_at_a_visitors_rows(self):
        """A user, a visitor with a chat of their own, one without and, once the site allows them no more, nobody."""
        self.give_to_a_visitor()
        bo = make_user("bo")
        with override_settings(STREAMING_CHAT_ALLOW_ANONYMOUS=True):
            self.visitor.send("Mine")
            for asking, statuses in (
                (KNOWN, VISITING),
                (NEW, VISITING),
                (bo, {PAGE: {200, 303}, PAGE_OF: {404}, OF: {404}}),
            ):
                with self.subTest(asking):
                    self.check(asking, {**statuses, ADMIN: {302}, TRANSCRIPTS: {302}})
        for asking in (KNOWN, None):
            with self.subTest(asking):
                self.check(asking, NOBODY)

    def test_an_inactive_user_is_no_visitor(self):
        with override_settings(STREAMING_CHAT_ALLOW_ANONYMOUS=True):
            self.check(self.user, NOBODY)

    def give_to_a_visitor(self) -> None:
        """Let all rows be another visitor's."""
        theirs = {"owner_key": f"v:{'0' * 64}"}
        Conversation.objects.update(owner=None, **theirs)
        LiveReply.objects.update(**theirs)
        Feedback.objects.update(**theirs)

    def check(self, user: Any, statuses: dict[str, set[int]], *, reads: bool = False) -> None:
        """Ask every address in every method; compare all rows before and after, statuses and what is shown."""
        before, calls = rows(user), len(self.provider.calls)
        unknown = cache(partial(self.unknown, user))
        for route, kind in KINDS.items():
            if reads and route == STOP:
                # Theirs to do: tests/admin/test_live.py.
                continue
            for method in METHODS:
                for path, sent in self.requests(method, route, reads=reads):
                    with self.subTest(method=method, path=path, sent=sent):
                        response = self.ask(user, method, route, path, sent)
                        others = {PROGRAM: {200, 404}, WATCH: {401, 403}}.get(kind, {200, 201, 204, 302, 401, 403, 404})
                        allowed = ({204, 401} if kind == LIVE else statuses.get(kind, others)) | {405}

                        assert response.status_code in allowed, (response.status_code, response.content[:200])
                        if not (reads and kind in (TRANSCRIPTS, WATCH)):
                            assert SECRET.encode() not in body(response)
                        if kind == LIVE or (kind == OF and response.status_code == 404):
                            assert response.content == unknown(method, route)
        assert rows(user) == before
        assert SECRET not in "".join(map(prompt_text, self.provider.calls[calls:]))

    def ask(self, user: Any, method: str, route: str, path: str, sent: Any = None) -> Any:
        client, headers = Client(raise_request_exception=False), {"Accept": "*/*"}
        if KINDS[route] == PROGRAM and user not in (None, KNOWN, NEW):
            headers |= {"Authorization": f"Bearer {self.token_of(user)}", "Idempotency-Key": CLIENT_ID}
            get_user_model().objects.filter(pk=user.pk).update(is_active=user != self.user)
        elif user == KNOWN:
            client.cookies.update(self.visitor.client.cookies)
        elif user not in (None, NEW):
            client.cookies[settings.SESSION_COOKIE_NAME] = self.session_of(user)
        if method == "POST" and KINDS.get(route) in (PAGE, PAGE_OF, ACCOUNT):
            return client.post(f"/{path}", "content=Taken", "application/x-www-form-urlencoded")
        return client.generic(method, f"/{path}", *encoded(client, sent or {}), headers=headers)

    def session_of(self, user: Any) -> str:
        """Return the key of the user's session, of a new one if a request has ended it."""
        if not Session.objects.filter(pk=self.sessions.get(user.pk)).exists():
            client = Client()
            get_user_model().objects.filter(pk=user.pk).update(is_active=True)
            client.force_login(user)
            get_user_model().objects.filter(pk=user.pk).update(is_active=user != self.user)
            self.sessions[user.pk] = client.session.session_key
        return self.sessions[user.pk]

    def token_of(self, user: Any) -> str:
        if user.pk not in self.tokens:
            self.tokens[user.pk] = make_token(user)
        return self.tokens[user.pk]

    def unknown(self, user: Any, method: str, route: str) -> bytes:
        sent = BODIES.get(f"{method} {route}")
        return body(self.ask(user, method, route, filled(route, uuid.UUID(int=7), uuid.UUID(int=7)), sent))

    def requests(self, method: str, route: str, *, reads: bool) -> list[tuple[str, Any]]:
        """Return paths and bodies that name ana's rows, where they can."""
        sent = [BODIES.get(f"{method} {route}")]
        if method == "POST" and route in NAMES:
            sent += self.naming(sent[0], NAMES[route])
        return [(path, each) for path in self.paths(route, reads=reads) for each in sent]

    def naming(self, sent: dict[str, Any], name: str) -> list[dict[str, Any]]:
        """Return bodies of a send that name ana's conversations and replies by our ids."""
        bodies = []
        for conversation, reply in zip(self.conversations, [*self.messages, self.messages[0]], strict=True):
            known = {"id": str(reply), "role": "assistant", "content": "", "parts": []}
            named = {**sent, name: str(conversation), "messages": [known, *sent["messages"]]}
            bodies += [named, {**named, "trigger": "regenerate-message", "messageId": str(reply)}]
        return bodies

    def paths(self, route: str, *, reads: bool) -> list[str]:
        if THEIRS in route:
            pairs = list(zip(self.conversations, self.messages, strict=False))
            # To who may read them, the live ones would go on streaming.
            return [
                filled(route.replace(THEIRS, str(of)), pk, pk) for of, pk in pairs if not (reads and pk in self.live)
            ]
        if CALL in route:
            return [route.replace(CALL, str(self.call.pk))]
        if C in route and M in route:
            return [filled(route.replace(M, str(pk)), self.conversations[0], pk) for pk in self.messages]
        if C in route or CHAT in route:
            named = [CHAT_ID] if CHAT in route else []
            return [filled(route, pk, pk) for pk in [*self.conversations, *named]]
        if M in route:
            return [filled(route, pk, pk) for pk in self.messages]
        if route == "chat/api/messages":
            return [f"{route}?client_id={CLIENT_ID}&conversation={self.conversations[0]}"]
        return [filled(route, self.conversations[0], self.user.pk)]


def filled(route: str, row: Any, user: Any) -> str:
    """Return an address of this route."""
    of = row if "conversation" in route or M in route else user
    for part, value in {
        C: row,
        CHAT: row,
        M: row,
        "<path:content_type_id>/<path:object_id>": f"{ContentType.objects.get_for_model(Conversation).pk}/{row}",
        "<path:object_id>": of,
        "<owner_key:owner_key>": f"u:{user}",
        "<uuid:pk>": of,
        "<id>": user,
        "<str:form>": "jsonl",
        "<path:token>": str(row),
        "<uuid:link>": row,
        "^api(?:/[\\s\\S]*)?\\Z": "api/none",
        "^v1(?:/[\\s\\S]*)?\\Z": "v1/none",
        "^(?P<app_label>streaming_chat|auth)/$": "streaming_chat/",
        "(?P<url>.*)$": "none/",
    }.items():
        route = route.replace(part, str(value))
    return route


def encoded(client: Client, value: Any) -> tuple[str, str]:
    return client._encode_json(value, "application/json"), "application/json"


def prompt_text(call: ScriptedCall) -> str:
    """Return all that a provider was sent."""
    return "".join([call.prompt.system, *(turn.text for turn in call.prompt.turns)])


def body(response: Any) -> bytes:
    return b"".join(response.streaming_content) if response.streaming else response.content


def rows(asking: Any) -> list[tuple[Any, ...]]:
    """Return every row, but for what whoever asked may have made of their own, and when they last signed in."""
    found: list[tuple[Any, ...]] = []
    mine = Conversation.objects.exclude(_made_by(asking))
    found += mine.order_by("pk").values_list()
    for model in (Message, LiveReply, ShareLink):
        found += model._default_manager.filter(conversation__in=mine).order_by("pk").values_list()
    for model in (ReplyEvent, Feedback, ToolCall):
        found += model._default_manager.filter(message__conversation__in=mine).order_by("pk").values_list()
    found += get_user_model().objects.order_by("pk").values_list("pk", "username", "password", "is_staff")
    return found


def _made_by(asking: Any) -> models.Q:
    if asking in (KNOWN, NEW):
        return models.Q(owner=None) & ~models.Q(title=SECRET)
    return models.Q(pk=None) if asking is None or asking.username == "ana" else models.Q(owner=asking)
