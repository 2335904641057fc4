"""Every address, action and form of the app's admin × every permission: who is let in, what changes, what is on record.

The table says for each request which permissions it takes; whoever has not all of them is refused, and then nothing is
shown, changed or recorded. A new address or action must be entered here; permissions are those that there are.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection, models, transaction
from django.db.models.functions import Now
from django.test import Client, RequestFactory, TestCase, override_settings
from django.urls import reverse

from streaming_chat.admin.kept_searches import SESSION_KEY
from streaming_chat.db.hooks import SavedText
from streaming_chat.models import (
    AccessedOwner,
    AccessRecord,
    AccessToken,
    BlockedOwner,
    Conversation,
    DailyOwnerUsage,
    Feedback,
    Message,
    ReplyEvent,
    Review,
    ReviewNotes,
    SearchEntry,
    ShareLink,
    ToolCall,
    ToolList,
    Verdict,
)
from streaming_chat.privacy.audit import record
from streaming_chat.protocol.events import Event
from streaming_chat.search import entries
from streaming_chat.usage import used_models
from tests.factories import (
    make_call,
    make_conversation,
    make_live,
    make_message,
    make_reply,
    make_staff,
    make_token,
    make_user,
    make_waiting,
)
from tests.routes import routes

APP = "admin/streaming_chat/"
# The permissions of docs/staff.md, and what they need besides.
STAFF: frozenset[str] = frozenset()
SEE = frozenset({"view_conversation"})
READ = SEE | {"view_transcript"}
REVIEW = READ | {"review_conversation"}
EXPORT = READ | {"export_transcript"}
REDACT = SEE | {"redact_transcript"}
REDACT_PASSAGES = READ | REDACT
STOP = SEE | {"stop_reply"}
REVOKE_LINK = SEE | {"revoke_link"}
ANSWER = READ | {"answer_tool_call"}
BLOCK = SEE | {"block_owner"}
EXPORT_OWNER = READ | {"export_owner"}
ERASE_OWNER = SEE | {"erase_owner"}
AUDIT = frozenset({"view_accessrecord"})
SEE_TOKENS = frozenset({"view_accesstoken"})
CREATE_TOKEN = frozenset({"add_accesstoken"})
REVOKE_TOKEN = frozenset({"delete_accesstoken"})
NOBODY = frozenset({"no such permission"})
# Nothing of the app's own: deleting a user, see OwnersDeletionTests.
DELETE_OWNER = frozenset({"delete_conversation", "delete_message"})
OF_OWNERS = BLOCK | EXPORT_OWNER | ERASE_OWNER
OURS = (
    REVIEW
    | EXPORT
    | REDACT
    | STOP
    | REVOKE_LINK
    | ANSWER
    | OF_OWNERS
    | AUDIT
    | SEE_TOKENS
    | CREATE_TOKEN
    | REVOKE_TOKEN
)

LIST = "conversation/"
ROW = "conversation/<path:object_id>/"
CHANGE_ROW = f"{ROW}change/"
REVIEW_ROW = "conversation/<uuid:pk>/review/"
NOTES_ROW = "conversation/<uuid:pk>/review/notes/"
UNDO_ROW = "conversation/<uuid:pk>/review/undo/"
NEXT = "conversation/review/next/"
REPLY = "conversation/<uuid:object_id>/messages/<uuid:message_id>/"
REDACT_ROW = "conversation/<uuid:conversation_id>/messages/<uuid:message_id>/redact/"
REDACT_IN = "conversation/<uuid:conversation_id>/redact/"
EXPORT_ROW = "conversation/<uuid:conversation_id>/export/<str:form>/"
EXPORT_LIST = "conversation/export/<str:form>/"
EXPORT_RECORDS = "accessrecord/export/<str:form>/"
REVOKE = "accesstoken/<path:object_id>/delete/"
OWNERS = "conversation/owners/"
OWNER = "conversation/owner/<owner_key:owner_key>/"
REVOKE_ROW = "sharelink/<uuid:link>/revoke/"
ANSWER_ROW = "toolcall/<int:call>/answer/"
ACTIONS = {
    "conversation": {"mark_done", "assign_to_me", "reopen_reviews", "export_jsonl", "export_csv"},
    "message": set(),
    "feedback": set(),
    "sharelink": set(),
    "accessrecord": set(),
    "accesstoken": set(),
    "toollist": set(),
    "toolcall": set(),
}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

# A text of each kind, none of which is anywhere else.
CANARIES = {
    name: f"canary{name}"
    for name in (
        *("title", "prompt", "metadata", "question", "answer", "reasoning", "tool", "output", "beyond", "live"),
        *("comment", "notes", "label", "correction", "terms", "invented", "allowed", "reason", "waiting"),
    )
}
# The reason of a block. Staff have written it, so it is no canary: users who may block see it without reading texts.
WHY = "Sends the same words all day"
SPOKEN = {"title", "prompt", "metadata", "question", "answer", "reasoning", "tool", "output", "beyond", "comment"}
# What a person has said to a tool call, and how a model has called what is no tool.
CALLED = {"allowed", "reason", "invented"}


@dataclass(frozen=True)
class Case:
    """A request, and its result.

    needs: the permissions that it requires. status: for users who have them. query, form: with placeholders such as
    {conversation} and {reply} for ids. words: of the search that the address names. shows: the texts that it shows to users
    who may read. exports: further ones, which it shows to users who may export. reads: the access record that it leaves for
    users who may read; does: the one that it leaves for every user. changes: whether it changes rows. of: what the
    conversation that it is about is called in the ids: "live " has a live reply, the review of "finished " is finished.
    """

    method: str
    route: str
    needs: frozenset[str]
    status: int
    query: str = ""
    words: str = ""
    form: dict[str, Any] = field(default_factory=dict)
    shows: frozenset[str] | set[str] = frozenset()
    exports: frozenset[str] | set[str] = frozenset()
    reads: tuple[str, ...] = ()
    does: tuple[str, ...] = ()
    changes: bool = False
    of: str = ""
    format: str = "jsonl"

    def __str__(self) -> str:
        return " ".join([self.method, self.route, self.query, self.words, str(self.form or ""), self.of]).strip()


def chosen(action: str, **more: Any) -> dict[str, Any]:
    """Return the form of the list with an action on the one conversation."""
    return {"action": action, "_selected_action": "{conversation}", "index": "0", **more}


def judged(**said: Any) -> dict[str, Any]:
    """Return the form of a transcript's bar as it is opened."""
    seen = {
        "version": "1",
        "activity": "{activity}",
        "through": "{reply}",
        "needs_attention": "1",
        "queue": "attention",
    }
    return {**seen, "base": CANARIES["notes"], "notes": CANARIES["notes"], **said}


def passages(**said: Any) -> dict[str, Any]:
    """Return the form that redacts passages."""
    return {"text": CANARIES["answer"], "pattern": "", "scope": "conversation", **said}


REDACTED = {"confirmed": "yes", "reason": "Asked for", "terms": "on"}
EDITED = {"title": "Taken", "model": "taken", "post": "yes", "confirmed": "yes", "_save": "Save"}
FORM_TYPE = "application/x-www-form-urlencoded"
EDITED_FORM = urlencode(EDITED)
LISTED = {"form-TOTAL_FORMS": "1", "form-INITIAL_FORMS": "1", "form-0-id": "{conversation}", "form-0-model": "taken"}

CASES = [
    # The list, which names conversations by their titles to who may read.
    Case("GET", LIST, SEE, 200, shows={"title"}, reads=("list",)),
    Case("HEAD", LIST, SEE, 200, reads=("list",)),
    Case("GET", LIST, SEE, 200, words="{owner}", shows={"title"}, reads=("search",)),
    Case("GET", LIST, SEE, 200, words="whistle", shows={"title"}, reads=("search",)),
    Case("GET", LIST, SEE, 200, words="{reply}", shows={"title"}, reads=("list",)),
    Case("GET", LIST, SEE, 200, query="?q=gone"),
    Case("POST", "conversation/find/", SEE, 302, form={"q": "whistle"}),
    Case("GET", LIST, SEE, 200, query="?review=done", shows={"title"}, reads=("list",)),
    Case("GET", LIST, SEE, 200, query="?from=2020-01-01&deleted=0&model=demo:demo", shows={"title"}, reads=("list",)),
    Case("GET", LIST, SEE, 200, query="?from=x"),
    Case("GET", LIST, SEE, 200, query="?tool=seek", shows={"title"}, reads=("list",)),
    Case("GET", LIST, SEE, 200, query="?live=waiting", shows={"title"}, reads=("list",)),
    # Not a lookup in the table, whose metadata are text.
    Case("GET", LIST, SEE, 400, query="?metadata__page=x"),
    Case("POST", "conversation/find/", SEE, 302, form={"key": "page", "meta": CANARIES["metadata"]}),
    Case("GET", LIST, SEE, 200, query="?verdict=bad&reviewer=1", shows={"title"}, reads=("list",)),
    Case("GET", LIST, SEE, 400, query="?action=export_jsonl&_selected_action={conversation}&index=0"),
    # Its actions.
    Case("POST", LIST, REVIEW, 302, form=chosen("mark_done"), changes=True),
    Case("POST", LIST, REVIEW, 200, form=chosen("mark_done", select_across="1")),
    Case("POST", LIST, REVIEW, 302, form=chosen("assign_to_me"), changes=True),
    Case("POST", LIST, REVIEW, 302, form=chosen("reopen_reviews", _selected_action="{finished}"), changes=True),
    Case("POST", LIST, REVIEW, 200, form=chosen("reopen_reviews", select_across="1")),
    Case("POST", LIST, REVIEW, 200, form=chosen("assign_to_me", _save="Save"), shows={"title"}, reads=("list",)),
    Case("POST", LIST, EXPORT, 200, form=chosen("export_jsonl"), shows=SPOKEN, reads=("export",)),
    Case("POST", LIST, EXPORT, 200, form=chosen("export_csv"), shows={"title", "answer"}, reads=("export",)),
    Case("POST", LIST, EXPORT, 200, form=chosen("export_csv", select_across="1"), shows={"title"}, reads=("export",)),
    Case("POST", LIST, EXPORT, 302, form={"action": "export_jsonl", "index": "0"}),
    Case("POST", LIST, NOBODY, 405, form=chosen("delete_selected", post="yes")),
    Case("POST", LIST, NOBODY, 405, form=chosen("", select_across="1")),
    Case("POST", LIST, NOBODY, 405, form={**LISTED, "_save": "Save"}),
    # Numbers, and the search in texts.
    Case("GET", "conversation/numbers/", SEE, 200),
    Case("GET", "conversation/review/numbers/", REVIEW, 200, shows={"label"}),
    Case("GET", "conversation/search/", READ, 200),
    Case("GET", "conversation/search/", READ, 200, words="whistle", shows={"answer"}, reads=("search",)),
    Case("HEAD", "conversation/search/", READ, 200, words="whistle", reads=("search",)),
    Case("POST", "conversation/search/", READ, 302, form={"q": "whistle"}),
    # A transcript.
    Case("GET", ROW, STAFF, 302),
    Case("GET", CHANGE_ROW, SEE, 200, shows=SPOKEN | CALLED, reads=("open",)),
    Case("GET", CHANGE_ROW, SEE, 200, query="?message={question}", shows=SPOKEN, reads=("open",)),
    Case("GET", CHANGE_ROW, SEE, 200, of="live ", shows={"live"}, reads=("open",)),
    Case("GET", CHANGE_ROW, SEE, 200, of="waiting ", shows={"waiting"}, reads=("open",)),
    Case("HEAD", CHANGE_ROW, SEE, 200, reads=("open",)),
    Case("GET", f"{ROW}history/", SEE, 200),
    Case("GET", "conversation/add/", NOBODY, 403),
    Case("GET", f"{ROW}delete/", NOBODY, 403),
    # A reply while it is written, here one that has ended: to who may, the other would go on.
    Case("GET", f"{REPLY}events", READ, 200, shows={"answer", "reasoning", "tool", "output"}, reads=("follow",)),
    Case("HEAD", f"{REPLY}events", READ, 200),
    Case("POST", f"{REPLY}stop/", STOP, 302),
    Case("POST", f"{REPLY}stop/", STOP, 302, of="live ", does=("stop",), changes=True),
    # Its forms.
    Case("GET", NOTES_ROW, REVIEW, 200, shows={"notes"}, reads=("open",)),
    Case("HEAD", NOTES_ROW, REVIEW, 200, reads=("open",)),
    Case("POST", REVIEW_ROW, REVIEW, 302, form=judged(action="save", notes="Taken"), changes=True),
    Case("POST", REVIEW_ROW, REVIEW, 302, form=judged(action="done"), changes=True),
    Case("POST", REVIEW_ROW, REVIEW, 302, form=judged(action="done_next"), changes=True),
    Case("POST", REVIEW_ROW, REVIEW, 302, form=judged(action="next", verdict="bad"), changes=True),
    Case("POST", REVIEW_ROW, REVIEW, 302, form=judged(mark="{reply}:bad"), changes=True),
    Case("POST", REVIEW_ROW, REVIEW, 409, form=judged(version="0", notes="x"), shows={"notes"}, reads=("open",)),
    Case("POST", REVIEW_ROW, REVIEW, 302, form=judged(action="release", notes="Taken"), changes=True),
    Case("POST", REVIEW_ROW, REVIEW, 302, form=judged(action="reopen"), changes=True, of="finished "),
    Case("POST", UNDO_ROW, REVIEW, 302, form={"version": "1", "queue": "attention"}, changes=True, of="finished "),
    Case("POST", NEXT, REVIEW, 302, form={"queue": "attention"}, changes=True),
    Case("POST", REDACT_ROW, REDACT, 200),
    Case("POST", REDACT_ROW, REDACT, 200, form={"back": "_changelist_filters=deleted%3D0"}),
    Case("POST", REDACT_ROW, REDACT, 302, form={"confirmed": "yes", "terms": "on"}, does=("redact",), changes=True),
    Case("POST", REDACT_IN, REDACT_PASSAGES, 200),
    Case("POST", REDACT_IN, REDACT_PASSAGES, 200, form=passages(preview="yes"), shows={"answer"}, reads=("open",)),
    Case("POST", REDACT_IN, REDACT_PASSAGES, 302, form=passages(**REDACTED), does=("redact_part",), changes=True),
    Case("POST", EXPORT_ROW, EXPORT, 200, shows=SPOKEN | CALLED, reads=("export",)),
    Case(
        "POST", EXPORT_ROW, EXPORT, 200, format="csv", shows={"title", "answer", "comment", "output"}, reads=("export",)
    ),
    Case("POST", EXPORT_ROW, EXPORT, 200, format="markdown", shows=SPOKEN, reads=("export",)),
    Case("POST", EXPORT_LIST, EXPORT, 200, shows=SPOKEN, reads=("export",)),
    Case("POST", EXPORT_LIST, EXPORT, 200, format="csv", words="whistle", shows={"answer"}, reads=("search", "export")),
    Case("POST", EXPORT_LIST, EXPORT | REVIEW, 200, format="training", shows={"correction"}, reads=("export",)),
    Case("POST", EXPORT_LIST, EXPORT | REVIEW, 200, format="evaluation", shows={"answer", "label"}, reads=("export",)),
    # The list of replies has no text, that of access records what was sought.
    Case("GET", "message/", SEE, 200),
    Case("GET", "message/", SEE, 200, words="{reply}"),
    Case("GET", "message/", SEE, 200, query="?tool=seek&live=waiting"),
    Case("GET", "message/", SEE, 200, query="?from=2020-01-01&until=2020-01-01&model=demo:demo"),
    Case("POST", "message/find/", SEE, 302, form={"q": "{reply}"}),
    # The list of feedback has comments.
    Case("GET", "feedback/", SEE, 200, shows={"comment"}, reads=("list",)),
    Case(
        "GET",
        "feedback/",
        SEE,
        200,
        query="?feedback=bad&commented=1&model=demo:demo&owned_by=user",
        shows={"comment"},
        reads=("list",),
    ),
    Case("GET", "feedback/", SEE, 200, query="?from=2020-01-01&until=2020-01-01"),
    Case("GET", "feedback/", SEE, 400, query="?comment=x"),
    Case("GET", "feedback/", SEE, 200, words="{reply}", shows={"comment"}, reads=("list",)),
    Case("GET", "feedback/", SEE, 200, words="whistle", shows={"comment"}, reads=("search",)),
    Case("GET", "feedback/", SEE, 200, words="{owner}", shows={"comment"}, reads=("search",)),
    Case("POST", "feedback/find/", SEE, 302, form={"q": "whistle"}),
    # That of links to shared conversations has no text.
    Case("GET", "sharelink/", SEE, 200),
    Case("GET", "sharelink/", SEE, 200, words="{conversation}"),
    Case("POST", "sharelink/find/", SEE, 302, form={"q": "{conversation}"}),
    Case("POST", REVOKE_ROW, REVOKE_LINK, 302, does=("revoke",), changes=True),
    Case("POST", REVOKE_ROW, REVOKE_LINK, 302, form={"transcript": "yes"}, does=("revoke",), changes=True),
    # That of tool calls that wait has no text, and the page of one has its arguments. Another one waits besides.
    Case("GET", "toolcall/", SEE, 200),
    Case("GET", "toolcall/", SEE, 200, words="{waiting conversation}"),
    Case("GET", "toolcall/", SEE, 400, query="?arguments=x"),
    Case("POST", "toolcall/find/", SEE, 302, form={"q": "refund"}),
    Case("GET", ANSWER_ROW, ANSWER, 200, shows={"waiting"}, reads=("open",)),
    Case("HEAD", ANSWER_ROW, ANSWER, 200, reads=("open",)),
    Case("POST", ANSWER_ROW, ANSWER, 302, form={"answer": "allow"}, does=("answer",), changes=True),
    Case("POST", ANSWER_ROW, ANSWER, 302, form={"answer": "deny", "reason": "No"}, does=("answer",), changes=True),
    # Owners: the one who has said all this, and one who is blocked and has said nothing.
    Case("GET", OWNERS, SEE, 200),
    Case("GET", OWNERS, SEE, 200, query="?days=7"),
    Case("GET", OWNER, SEE, 200),
    Case("GET", OWNER, SEE, 200, of="blocked "),
    Case("POST", f"{OWNER}block/", BLOCK, 302, form={"reason": "Spam"}, does=("block",), changes=True),
    Case("POST", f"{OWNER}block/", BLOCK, 302, form={"reason": " "}),
    Case("POST", f"{OWNER}unblock/", BLOCK, 302),
    Case("POST", f"{OWNER}unblock/", BLOCK, 302, of="blocked ", does=("unblock",), changes=True),
    Case("POST", f"{OWNER}export/", EXPORT_OWNER, 200, form={"confirmation": "ana"}, shows=SPOKEN, reads=("export",)),
    Case("POST", f"{OWNER}export/", EXPORT_OWNER, 302, form={"confirmation": "bo"}),
    Case("POST", f"{OWNER}erase/", ERASE_OWNER, 302, form={"confirmation": "bo"}),
    Case(
        "POST",
        f"{OWNER}erase/",
        ERASE_OWNER,
        302,
        form={"confirmation": "bo"},
        of="blocked ",
        does=("erase",),
        changes=True,
    ),
    # Lists of tools are of servers, not of people.
    Case("GET", "toollist/", SEE, 200),
    Case("GET", "toollist/", SEE, 200, words="{conversation}"),
    Case("POST", "toollist/find/", SEE, 302, form={"q": "{conversation}"}),
    Case("GET", "accessrecord/", AUDIT, 200, shows={"terms"}, reads=("list",)),
    Case("GET", "accessrecord/", AUDIT, 200, words="curious", shows={"terms"}, reads=("list",)),
    Case("GET", "accessrecord/", AUDIT, 200, query="?owner_key=v:1", shows={"terms"}, reads=("list",)),
    Case("GET", "accessrecord/", AUDIT, 200, query="?conversation={conversation}"),
    Case("GET", "accessrecord/", AUDIT, 400, query="?terms=x"),
    Case("POST", "accessrecord/find/", AUDIT, 302, form={"q": "curious"}),
    Case("POST", EXPORT_RECORDS, AUDIT, 200, exports={"terms"}, does=("export",)),
    Case("POST", EXPORT_RECORDS, AUDIT, 200, query="?owner_key=v:1", format="csv", exports={"terms"}, does=("export",)),
    # Access tokens: one's own is created, anybody's is revoked.
    Case("GET", "accesstoken/", SEE_TOKENS, 200),
    Case("GET", "accesstoken/add/", CREATE_TOKEN, 200),
    Case("POST", "accesstoken/add/", CREATE_TOKEN, 200, form={"name": "x", "scope": "chat"}, changes=True),
    Case("GET", REVOKE, REVOKE_TOKEN, 200),
    Case("POST", REVOKE, REVOKE_TOKEN, 302, form={"post": "yes"}, changes=True),
]

# What a page holds for who has these permissions, and for nobody else: the ways on, and what reviewers say.
OFFERS = {
    (LIST, ""): {
        "verdict=unclear": REVIEW,
        "/review/next/": REVIEW,
        "/review/numbers/": REVIEW,
        'value="mark_done"': REVIEW,
        "/export/": EXPORT,
        "/export/training/": EXPORT | REVIEW,
        "/search/": READ,
    },
    (CHANGE_ROW, ""): {
        "/review/": REVIEW,
        "/review/notes/": REVIEW,
        CANARIES["notes"]: REVIEW,
        CANARIES["label"]: REVIEW,
        CANARIES["correction"]: REVIEW,
        "/export/": EXPORT,
        "/redact/": REDACT,
        "Redact passages…": REDACT_PASSAGES,
        "/revoke/": REVOKE_LINK,
        'class="transcript-flagged"': SEE,
        "/accessrecord/?conversation=": AUDIT,
        "/accessrecord/?owner_key=": AUDIT,
    },
    ("feedback/", ""): {"with a comment": READ},
    ("accessrecord/", ""): {"/accessrecord/export/": AUDIT},
    ("sharelink/", ""): {"/revoke/": REVOKE_LINK},
    ("toolcall/", ""): {"/answer/": ANSWER},
    (CHANGE_ROW, "waiting "): {"/answer/": ANSWER, "/stop/": STOP},
    (OWNERS, ""): {WHY: BLOCK},
    (OWNER, ""): {"/block/": BLOCK, "/export/": EXPORT_OWNER, "/erase/": ERASE_OWNER},
    (OWNER, "blocked "): {WHY: BLOCK, "/unblock/": BLOCK},
    (CHANGE_ROW, "live "): {"/stop/": STOP, "data-follow=": READ, "admin/live.js": READ},
}


def kept(client: Client, words: str) -> str:
    """Keep a search in a session, and return its id for an address. A user without the permission could not send it."""
    session = client.session
    session[SESSION_KEY] = {**session.get(SESSION_KEY, {}), words: words}
    session.save()
    return quote(words)


def app_routes() -> list[str]:
    """Return the routes of the app's admin, below its own."""
    return [route.removeprefix(APP) for route in routes() if route.startswith(APP)]


def model_admins() -> dict[str, Any]:
    """Return the app's models that the admin has, with how."""
    of_ours = {
        model: found for model, found in admin.site._registry.items() if model._meta.app_label == "streaming_chat"
    }
    return {str(model._meta.model_name): found for model, found in of_ours.items()}


class CompletenessTests(TestCase):
    """What there is, is in the table."""

    maxDiff = None

    def test_every_address_is_entered(self):
        assert set(app_routes()) == {case.route for case in CASES}

    def test_every_action_is_entered(self):
        request = RequestFactory().get("/")
        request.user = get_user_model().objects.create_superuser("root")
        found = {name: set(each.get_actions(request)) for name, each in model_admins().items()}
        posted = {case.form["action"] for case in CASES if case.form.get("action") and case.route == LIST}

        assert found == ACTIONS
        assert posted >= ACTIONS["conversation"]

    def test_every_permission_that_opens_something_is_described(self):
        described = re.findall(
            r"^\| (.+) \\\| (.+) \| `(\w+)` \|", (settings.BASE_DIR / "docs/staff.md").read_text(), re.MULTILINE
        )
        offered = Permission.objects.filter(content_type__app_label="streaming_chat")

        assert sorted(described) == sorted((each.content_type.name, each.name, each.codename) for each in offered)

    def test_no_permission_is_offered_that_opens_nothing(self):
        assert permissions() == OURS | DELETE_OWNER


def permissions() -> set[str]:
    """Return every permission of the app."""
    return set(Permission.objects.filter(content_type__app_label="streaming_chat").values_list("codename", flat=True))


def every_other() -> frozenset[str]:
    """Return the permissions that open nothing. They are given together: if one of them opened something, so would all."""
    return frozenset(permissions() - OURS)


def make_rows() -> dict[str, str]:
    """Plant a text of each kind. Returns what stands for `{name}` in addresses and forms."""
    # The names of models that other tests have used.
    used_models._read.cache_clear()
    used_models._read_tools.cache_clear()
    owner = make_user("ana")
    conversation = make_conversation(
        owner,
        title=CANARIES["title"],
        system_prompt=CANARIES["prompt"],
        metadata={"page": CANARIES["metadata"], "cart": [CANARIES["metadata"]]},
        needs_attention=True,
    )
    question = make_message(conversation, CANARIES["question"])
    reply = make_reply(
        conversation,
        parts=[
            {"kind": "reasoning", "text": CANARIES["reasoning"]},
            {"kind": "tool_call", "id": "1", "name": "seek", "arguments": CANARIES["tool"], "complete": True},
            {"kind": "tool_result", "id": "1", "status": "ok", "output": CANARIES["output"], "ms": 5},
            {"kind": "text", "text": f"{CANARIES['answer']} whistle {CANARIES['beyond']}"},
        ],
        cut_position=1 + len(CANARIES["reasoning"]) + 2 + len(CANARIES["answer"]) + len(" whistle"),
        status="stopped",
        end_reason="user",
    )
    said = {"approved": True, "arguments": f'{{"a": "{CANARIES["allowed"]}"}}', "reason": CANARIES["reason"]}
    make_call(
        reply,
        "seek",
        call_id="1",
        arguments=CANARIES["tool"],
        output=CANARIES["output"],
        answer=said,
        answered_at=Now(),
        by=owner,
    )
    # There is no such tool.
    make_call(reply, CANARIES["invented"], call_id="2", digest="", status="error", started_at=None)
    comment = f"{CANARIES['comment']} whistle"
    Feedback.objects.create(message=reply, value=-1, comment=comment, by=owner, owner_key=f"u:{owner.pk}")
    rita = make_user("rita")
    Review.objects.create(conversation=conversation, notes=CANARIES["notes"], version=1, changed_by=rita)
    noted = CANARIES["notes"]
    ReviewNotes.objects.create(conversation=conversation, text=noted, words=[noted], by=rita)
    for message, correction in ((None, ""), (reply, CANARIES["correction"])):
        Verdict.objects.create(
            conversation=conversation,
            message=message,
            value="bad",
            labels=[CANARIES["label"]],
            correction=correction,
            by=rita,
        )
    ShareLink.objects.create(conversation=conversation, message=reply, token_digest="0" * 64)
    ToolList.objects.create(server="https://tools.example/mcp", definitions="[]").conversations.add(conversation)
    live = make_live(make_conversation(owner, title=CANARIES["title"]), Event("text", CANARIES["live"]))
    pending = make_conversation(owner, title=CANARIES["title"])
    waiting, _other = make_waiting(pending, "refund", "refund", arguments=f'{{"a": "{CANARIES["waiting"]}"}}')
    finished = make_conversation(owner, title=CANARIES["title"], review_state="done")
    finished_reply = make_reply(finished, CANARIES["answer"])
    Review.objects.create(conversation=finished, version=1, done_by=rita, done_at=finished_reply.created_at)
    record("search", make_user("curious"), terms=CANARIES["terms"], owner_keys=["v:1"])
    make_token(owner)
    blocked = make_user("bo")
    BlockedOwner.objects.create(owner_key=f"u:{blocked.pk}", reason=WHY, by_name="rita")
    DailyOwnerUsage.objects.create(day="2026-11-01", owner_key=f"u:{blocked.pk}", replies=1)
    index()
    return {
        "token": str(AccessToken.objects.get().pk),
        "conversation": str(conversation.pk),
        "question": str(question.pk),
        "reply": str(reply.pk),
        "live conversation": str(live.conversation_id),
        "live reply": str(live.pk),
        "call": str(waiting.pk),
        "waiting conversation": str(pending.pk),
        "waiting reply": str(waiting.message_id),
        "waiting owner key": f"u:{owner.pk}",
        "finished conversation": str(finished.pk),
        "finished reply": str(finished_reply.pk),
        "finished": str(finished.pk),
        "owner": "ana",
        "owner key": f"u:{owner.pk}",
        "blocked owner key": f"u:{blocked.pk}",
        "blocked conversation": str(conversation.pk),
        "blocked reply": str(reply.pk),
        "finished owner key": f"u:{owner.pk}",
        "live owner key": f"u:{owner.pk}",
        "activity": Conversation.objects.get(pk=conversation.pk).last_activity.isoformat(),
    }


def index() -> None:
    """Let all texts be found, as they are now."""
    SearchEntry.objects.all().delete()
    for message in Message.objects.all():
        entries.add([SavedText(message.conversation_id, message.pk, message.is_reply, message.text)], "default")
    for conversation in Conversation.objects.all():
        entries.replace_title(conversation.pk, conversation.title, "default")


class NamesTests(TestCase):
    def test_no_row_is_named_by_its_text(self):
        """The admin's log keeps these names, and its pages of what else would be deleted show them."""
        make_rows()
        for model in apps.get_app_config("streaming_chat").get_models():
            for row in model._default_manager.all():
                assert "canary" not in str(row)
                assert "canary" not in repr(row)


def rows() -> list[Any]:
    """Return every row of the app and of the admin's log, but for what is on record."""
    of_ours = set(apps.get_app_config("streaming_chat").get_models()) - {AccessRecord, AccessedOwner}
    in_order = sorted(of_ours, key=lambda model: model.__name__)
    return [list(model._default_manager.order_by("pk").values_list()) for model in (*in_order, LogEntry)]


# By table: what no statement may read for who may not read text.
TEXTS = {
    *(f"conversation.{name}" for name in ("title", "system_prompt", "metadata")),
    *("message.text", "message.parts", "replyevent.payload", "feedback.comment", "searchentry.words"),
    *("toolcall.arguments", "toolcall.output", "toolcall.answer"),
    *(
        "review.notes",
        "reviewnotes.text",
        "reviewnotes.words",
        "verdict.labels",
        "verdict.correction",
        "accessrecord.terms",
    ),
}
PASSWORD = f"{get_user_model()._meta.model_name}.password"
_COLUMN = re.compile(r'"streaming_chat_(\w+)"\."(\w+)"')


class Statements:
    """What was asked of the app's tables."""

    def __init__(self) -> None:
        self.writes: list[str] = []
        self.loads: set[str] = set()

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "streaming_chat_" in sql:
            if sql.startswith("SELECT"):
                self.loads.update(".".join(found) for found in _COLUMN.findall(sql))
            else:
                self.writes.append(sql)
        return execute(sql, params, many, context)


class MatrixTestCase(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        cls.ids = make_rows()
        cls.before = rows()

    def path(self, route: str, *, of: str = "", form: str = "jsonl") -> str:
        conversation, reply = (self.ids[of + name] for name in ("conversation", "reply"))
        route = route.replace("<owner_key:owner_key>", self.ids[f"{of}owner key"])
        route = route.replace("<int:call>", self.ids["call"])
        route = route.replace(REVOKE, f"accesstoken/{self.ids['token']}/delete/")
        route = re.sub(r"<path:object_id>|<uuid:(pk|object_id|conversation_id|link)>", conversation, route)
        return f"/{APP}{route}".replace("<uuid:message_id>", reply).replace("<str:form>", form)

    def ask(self, client: Client, case: Case) -> Any:
        path = self.path(case.route, of=case.of, form=case.format) + case.query.format(**self.ids)
        if case.words:
            path += f"?q={kept(client, case.words.format(**self.ids))}"
        if case.method == "POST":
            return client.post(path, {name: value.format(**self.ids) for name, value in case.form.items()})
        return client.generic(case.method, path)


@pytest.mark.slow
class MatrixTests(MatrixTestCase):
    def test_whoever_is_not_of_the_staff(self):
        everybody = {
            "anonymous": None,
            "the owner": make_user("ana"),
            "a user with every permission": make_holder("user", permissions(), is_staff=False),
            "a superuser who is not staff": make_user("root", is_superuser=True),
            "somebody who has left": make_user("left", is_superuser=True, is_staff=True, is_active=False),
        }
        for name, user in everybody.items():
            self.check(name, user, None)
            self.check_wrong_methods(name, user, None)

    def test_staff_without_a_permission(self):
        staff = make_holder("staff", STAFF)
        self.check("staff", staff, STAFF)
        self.check_wrong_methods("staff", staff, STAFF)

    def test_exactly_what_is_needed(self):
        for number, needs in enumerate({case.needs for case in CASES}):
            cases = [case for case in CASES if case.needs == needs]
            self.check(f"exactly {sorted(needs)}", make_holder(f"exactly {number}", needs), needs, cases)

    def test_each_permission_alone(self):
        self.check_each({name: frozenset({name}) for name in OURS} | {"every other": every_other()})

    def test_each_permission_besides_that_to_see(self):
        columns = {f"see, {name}": SEE | {name} for name in OURS - SEE}
        self.check_each({**columns, "see, every other": SEE | every_other()})

    def test_each_of_ours_besides_that_to_read(self):
        self.check_each({f"read, {name}": READ | {name} for name in OURS - READ})

    def test_every_permission_but_one_that_makes_a_difference(self):
        for missing in sorted(OURS):
            name, held = f"all but {missing}", frozenset(permissions() - {missing})
            self.check(name, make_holder(name, held), held, [case for case in CASES if differs_by(missing, case)])

    def test_a_superuser(self):
        root = get_user_model().objects.create_superuser("root")
        self.check("root", root, frozenset(permissions()))
        self.check_wrong_methods("root", root, frozenset(permissions()))

    def check_each(self, columns: dict[str, frozenset[str]]) -> None:
        for name, held in sorted(columns.items()):
            self.check(name, make_holder(name, held), held)

    def check(self, name: str, user: Any, held: frozenset[str] | None, cases: Sequence[Case] = CASES) -> None:
        """Ask all of it. held: the permissions of one of the staff, None for anybody else."""
        client = client_of(user)
        for case in cases:
            with self.subTest(who=name, request=str(case)):
                if held is not None and case.needs <= held:
                    self.check_allowed(client, case, held)
                else:
                    self.check_refused(client, case, held)
        assert rows() == self.before

    def check_wrong_methods(self, name: str, user: Any, held: frozenset[str] | None) -> None:
        """Ask with every method that an address does not take, which does not depend on a permission."""
        client = client_of(user)
        for method, route in wrong_methods():
            with self.subTest(who=name, method=method, route=route):
                with observed() as seen:
                    response = client.generic(method, self.path(route), EDITED_FORM, FORM_TYPE)

                if method == "GET" and response.status_code == 302 and not is_login(response):
                    # From the login, to the page that the form is on.
                    assert response["Location"].startswith(f"/{APP}{route.partition('/')[0]}/")
                else:
                    assert response.status_code == 405 or (held is None and is_login(response))
                assert_nothing(seen, response)

        assert rows() == self.before

    def check_allowed(self, client: Client, case: Case, held: frozenset[str]) -> None:
        may_read = "view_transcript" in held
        with undone():
            known = set(AccessRecord.objects.values_list("pk", flat=True))
            with observed() as seen:
                response = self.ask(client, case)
                said = text_of(response)
            records = AccessRecord.objects.exclude(pk__in=known).order_by("pk")
            recorded = tuple(records.values_list("kind", flat=True))
            changed = case.method == "POST" and rows() != self.before

        assert response.status_code == case.status, said[:300]
        assert recorded == ((case.reads if may_read else ()) + case.does)
        assert changed == case.changes
        if case.method == "GET" and case.status == 200:
            offers = OFFERS.get((case.route, case.of), {})
            assert {mark for mark in offers if mark in said} == {mark for mark in offers if offers[mark] <= held}
        if may_read:
            shows = case.shows | (case.exports if "export_transcript" in held else set())
            assert {name for name in shows if CANARIES[name] not in said} == set()
            # Labels are the site's own words, and nobody's text.
            assert case.reads or shows or "canary" not in said.replace(CANARIES["label"], "")
        else:
            assert "canary" not in said
            # What is taken away is looked at, and shown to nobody.
            assert case.route == REDACT_ROW or not seen.loads & TEXTS
            if case.method == "POST":
                assert "canary" not in text_of(client.get("/admin/"))

    def check_refused(self, client: Client, case: Case, held: frozenset[str] | None) -> None:
        with observed() as seen:
            response = self.ask(client, case)

        if held is None:
            assert is_login(response) or (case.route.endswith("/events") and response.status_code == 401)
        else:
            assert response.status_code == (405 if case.method == "POST" and case.route == LIST else 403)
        assert_nothing(seen, response, may_load=held is not None and "view_transcript" in held)


class SeveralActionsTests(MatrixTestCase):
    """The list takes the action whose number is `index`; another beside it is no leave."""

    def test_an_action_beside_one_that_is_allowed_is_not_done(self):
        for held, allowed, wanted in ((REVIEW, "mark_done", "export_jsonl"), (EXPORT, "export_jsonl", "mark_done")):
            self.client.force_login(make_holder(allowed, held))
            for index, actions in enumerate(([wanted, allowed], [allowed, wanted])):
                with self.subTest(wanted, actions=actions), observed() as seen:
                    form = {"action": actions, "index": str(index), "_selected_action": self.ids["conversation"]}
                    response = self.client.post(self.path(LIST), form)

                    assert response.status_code in {302, 405}
                    assert_nothing(seen, response, may_load=True)
        assert rows() == self.before


class AutocompleteTests(MatrixTestCase):
    def test_it_finds_nothing_since_its_addresses_have_the_words(self):
        self.client.force_login(make_holder("reader", READ))
        asked = {"app_label": "streaming_chat", "model_name": "message", "field_name": "conversation"}
        for term in ("whistle", "ana"):
            said = text_of(self.client.get("/admin/autocomplete/", {**asked, "term": term}))

            assert self.ids["conversation"] not in said
            assert "canary" not in said
        assert not AccessRecord.objects.filter(terms="whistle").exists()


class CsrfTests(MatrixTestCase):
    """A form of another site, sent by the browser of somebody who may."""

    def test_without_its_token_no_form_does_anything(self):
        self.check()

    def test_nor_where_the_site_has_no_middleware_for_it(self):
        with override_settings(MIDDLEWARE=[name for name in settings.MIDDLEWARE if "Csrf" not in name]):
            self.check()

    def check(self) -> None:
        client = Client(enforce_csrf_checks=True)
        client.force_login(get_user_model().objects.create_superuser("root"))
        for case in CASES:
            if case.method == "POST":
                with self.subTest(str(case)), observed() as seen:
                    response = self.ask(client, case)

                    assert response.status_code == 403
                    assert_nothing(seen, response)
        assert rows() == self.before


@pytest.mark.slow
class InferenceTests(MatrixTestCase):
    """Whoever may not read is answered the same, to the last byte, whatever the texts are.

    Each address is asked twice, the second time with other texts in all rows; this holds for what is guessed, sorted by,
    found and counted, too. By somebody who may do all that the app and the site's users allow, but not read.
    """

    @classmethod
    def setUpTestData(cls) -> None:
        super().setUpTestData()
        # What occurs in one of the messages, and will not in what takes its place.
        record("search", make_user("curious"), terms=CANARIES["answer"])
        cls.staff = make_holder("staff", permissions() - {"view_transcript"})
        cls.staff.user_permissions.add(*Permission.objects.exclude(content_type__app_label="streaming_chat"))
        for row in (Conversation.objects.first(), Message.objects.first(), Feedback.objects.get()):
            log(cls.staff, row)

    def setUp(self) -> None:
        self.client.force_login(self.staff)

    def check(self, addresses: list[str], **statuses: set[int]) -> None:
        """Ask twice. statuses: what is expected of each, by default that it is answered."""
        for address, one, other in self.answers(addresses):
            with self.subTest(address):
                assert one == other
                assert one[0] in statuses.get("expected", {200})
                # What was asked may be said again.
                assert "canary" in address or "canary" not in one[1]

    def answers(self, addresses: list[str]) -> list[tuple[str, Any, Any]]:
        with undone():
            first = [self.answer(address) for address in addresses]
            exchange_texts()
            second = [self.answer(address) for address in addresses]
        return list(zip(addresses, first, second, strict=True))

    def answer(self, address: str) -> tuple[int, str]:
        response = self.client.get(address)
        return response.status_code, without_tokens(text_of(response))

    def lists(self) -> list[str]:
        return [f"/{APP}{name}/" for name in model_admins()]

    def test_whoever_may_read_is_answered_otherwise(self):
        """So these tests would notice."""
        self.client.force_login(make_holder("reader", READ | AUDIT))
        key = kept(self.client, "whistle")
        queries = (
            *("conversation/", f"conversation/?q={key}", f"conversation/search/?q={key}"),
            *("feedback/", f"feedback/?q={key}", "feedback/?commented=1", "accessrecord/"),
        )
        for address, one, other in self.answers([self.path(CHANGE_ROW), *(f"/{APP}{query}" for query in queries)]):
            with self.subTest(address):
                assert one[0] == other[0] == 200
                assert one != other

    def test_no_column_of_text_is_asked_for(self):
        """Nor from the lists of users and groups, whose rows are related to all of it."""
        asked = [
            f"{reverse(f'admin:{model._meta.app_label}_{model._meta.model_name}_changelist')}?{path}{lookup}=canary"
            for model in admin.site._registry
            for path in text_paths(model)
            for lookup in ("", "__startswith", "__gt", "__page__icontains")
        ]

        assert len(asked) > 100
        self.check(asked, expected={400})

    def test_nothing_is_sorted_by_text(self):
        orders = [*(f"{sign}{column}" for column in range(12) for sign in ("", "-")), "1.2.-3", "title", "-title", "x"]

        self.check([f"{path}?o={order}" for path in self.lists() for order in orders])

    def test_nothing_is_found_by_text(self):
        sought = [*CANARIES.values(), "canaryans*", '"canaryanswer whistle"', "whistle", "whist"]

        keys = [kept(self.client, words) for words in sought]

        self.check([f"{path}?q={key}" for path in self.lists() for key in keys])

    def test_filters_know_no_text(self):
        named = [
            *("status", "reason", "error", "live", "feedback", "model", "days", "review", "owned_by", "owner_key"),
            *("commented", "conversation", "tool"),
            *("last_status__exact", "kind__exact", "last_activity__gte", "at__lt", "verdict", "label", "reviewer"),
        ]
        asked = [f"{path}?{name}=canarytitle" for path in self.lists() for name in named]

        self.check(asked, expected={200, 302, 400})

    def test_the_lists_other_parameters_tell_nothing(self):
        asked = [
            *("e=1", "p=2", "p=x", "all=", "_facets=True", "_popup=1", "_popup=1&_to_field=id", "_to_field=title"),
            *("_popup=1&_to_field=text", "_to_field=terms", "_changelist_filters=q%3Dcanarytitle", "list_filter=title"),
        ]

        self.check([f"{path}?{query}" for path in self.lists() for query in asked], expected={200, 302, 400})

    def test_a_conversations_pages_tell_nothing(self):
        pages = [
            self.path(route, of=of) for route in (CHANGE_ROW, f"{ROW}history/") for of in ("", "live ", "waiting ")
        ]
        queries = ("", "?page=2", "?_to_field=title", "?_popup=1", "?_changelist_filters=q%3Dcanaryanswer")

        self.check([page + query for page in pages for query in queries], expected={200})
        self.check([f"/{APP}conversation/numbers/?model=canarytitle"])
        rests = [f"{rest}{query}" for rest in ("change/", "history/") for query in ("", "?_to_field=title")]
        self.check([f"/{APP}conversation/canarytitle/{rest}" for rest in rests], expected={302, 404})

    def test_the_choices_of_other_forms_tell_nothing(self):
        """Django has an address that finds rows for the select boxes of any model that points to them."""
        fields = [
            {"app_label": model._meta.app_label, "model_name": model._meta.model_name, "field_name": relation.name}
            for model in apps.get_models()
            for relation in model._meta.get_fields()
            if relation.is_relation and relation.concrete and model._meta.app_label in {"streaming_chat", "auth"}
        ]
        asked = [
            f"/admin/autocomplete/?{urlencode({**of, 'term': term})}"
            for of in fields
            for term in ("canarytitle", "whistle", "")
        ]

        assert len(asked) > 50
        self.check(asked, expected={200, 403, 404})

    def test_the_sites_own_pages_tell_nothing(self):
        owner = get_user_model().objects.get(username="ana")
        of_owner = [f"/admin/auth/user/{owner.pk}/{rest}/" for rest in ("change", "history", "delete")]

        self.check(["/admin/", f"/{APP}", "/admin/jsi18n/", "/admin/auth/user/?q=canarytitle", *of_owner])
        shortcuts = [
            f"/admin/r/{ContentType.objects.get_for_model(model).pk}/{row.pk}/"
            for model in apps.get_app_config("streaming_chat").get_models()
            for row in model._default_manager.all()[:1]
        ]
        self.check(shortcuts, expected={404})

    def test_what_would_go_with_an_owner_is_named_by_its_id(self):
        """Whoever deletes a user is shown all that goes with them, also of several at once."""
        owner = get_user_model().objects.get(username="ana")
        form = {"action": "delete_selected", "_selected_action": str(owner.pk)}
        confirmations = [
            self.client.get(f"/admin/auth/user/{owner.pk}/delete/"),
            self.client.post("/admin/auth/user/", form),
        ]
        for confirmation in confirmations:
            said = text_of(confirmation)

            assert f"Conversation {self.ids['conversation']}" in said
            assert "canary" not in said

    def test_a_redaction_asks_without_a_text(self):
        answers = []
        with undone():
            for _time in range(2):
                response = self.client.post(self.path(REDACT_ROW))
                answers.append((response.status_code, without_tokens(text_of(response))))
                exchange_texts()

        assert answers[0] == answers[1]
        assert answers[0][0] == 200


class OwnersDeletionTests(MatrixTestCase):
    """Conversations and tokens go with their owner, whom Django lets nobody delete who may not delete each of these."""

    def delete(self, *held: str) -> int:
        staff = make_holder("staff", set(held))
        staff.user_permissions.add(Permission.objects.get(codename="delete_user"))
        self.client.force_login(staff)
        owner = get_user_model().objects.get(username="ana")
        return self.client.post(f"/admin/auth/user/{owner.pk}/delete/", {"post": "yes"}).status_code

    def test_it_takes_every_permission(self):
        needed = DELETE_OWNER | REVOKE_TOKEN
        for held in (set(), *({name} for name in needed), *(needed - {name} for name in needed)):
            assert self.delete(*held) == 403
        assert rows() == self.before
        assert self.delete(*needed) == 302
        assert not Conversation.objects.exists()


def text_paths(model: Any) -> list[str]:
    """Return the lookups that lead from a model to every column of text, and to passwords, over two relations at most."""
    found = []
    for prefix, of in _related(model, 2):
        table = str(of._meta.model_name)
        hidden = [column.name for column in of._meta.concrete_fields if f"{table}.{column.name}" in {*TEXTS, PASSWORD}]
        found += [f"{prefix}{name}" for name in hidden]
    return sorted(set(found))


def _related(model: Any, depth: int, prefix: str = "") -> Iterator[tuple[str, Any]]:
    yield prefix, model
    if depth:
        for each in model._meta.get_fields():
            if each.is_relation and each.related_model and (name := _query_name(each)):
                yield from _related(each.related_model, depth - 1, f"{prefix}{name}__")


def _query_name(relation: Any) -> str:
    if not relation.auto_created or relation.concrete:
        return str(relation.name)
    return "" if relation.hidden else str(relation.field.related_query_name())


def exchange_texts() -> None:
    """Put others in the place of all texts."""
    other = "other"
    for number, conversation in enumerate(Conversation.objects.order_by("-title", "pk")):
        changed = {"title": f"{number}{other}", "system_prompt": other, "metadata": {"stage": [other]}}
        Conversation.objects.filter(pk=conversation.pk).update(**changed)
    # In the opposite order, where they are sorted.
    for number, message in enumerate(Message.objects.exclude(text="").order_by("-pk")):
        parts = [{"kind": "text", "text": other}] if message.parts else []
        Message.objects.filter(pk=message.pk).update(text=f"{number}{other}", parts=parts)
    ReplyEvent.objects.filter(kind="text").update(payload=other)
    for event in ReplyEvent.objects.filter(kind="tool_call"):
        ReplyEvent.objects.filter(pk=event.pk).update(payload={**event.payload, "arguments": other})
    ToolCall.objects.update(arguments=other, output=other)
    ToolCall.objects.exclude(answer=None).update(answer={"approved": False, "reason": other})
    # Names of no tool are a model's.
    ToolCall.objects.filter(digest="").update(name=other)
    Feedback.objects.update(comment=other)
    Review.objects.update(notes=other)
    Verdict.objects.update(labels=[other])
    Verdict.objects.exclude(correction="").update(correction=other)
    ReviewNotes.objects.update(text=other, words=[other])
    AccessRecord.objects.filter(kind="search").update(terms=other)
    index()


def without_tokens(said: str) -> str:
    """Return what was said without what is another each time: the tokens of forms, and times of headers."""
    return re.sub(r'name="csrfmiddlewaretoken" value="\w*"|^(Expires|Set-Cookie): .*$', "", said, flags=re.MULTILINE)


def log(user: Any, row: models.Model) -> None:
    """Enter a row in the admin's log, as an admin of the site's own might."""
    LogEntry.objects.create(
        user=user,
        content_type=ContentType.objects.get_for_model(row),
        object_id=str(row.pk),
        object_repr=str(row),
        action_flag=CHANGE,
    )


def wrong_methods() -> list[tuple[str, str]]:
    """Return the methods that each address does not take."""
    taken = {(case.method, case.route) for case in CASES}
    taken |= {("HEAD", route) for method, route in taken if method == "GET"}
    return [(method, route) for route in app_routes() for method in METHODS if (method, route) not in taken]


def differs_by(permission: str, case: Case) -> bool:
    """Return whether a permission decides if a case is allowed, or what its page offers."""
    offers = OFFERS.get((case.route, case.of), {})
    return permission in case.needs or any(permission in needs for needs in offers.values())


def client_of(user: Any) -> Client:
    client = Client()
    if user:
        client.force_login(user)
    return client


def make_holder(name: str, held: frozenset[str] | set[str], *, is_staff: bool = True) -> Any:
    """Return a user with these permissions of the app."""
    user = make_staff(name, *held)
    if not is_staff:
        user.is_staff = False
        user.save(update_fields=["is_staff"])
    return user


@contextmanager
def observed() -> Iterator[Statements]:
    """Yield what is asked of the app's tables in the block."""
    seen = Statements()
    with connection.execute_wrapper(seen):
        yield seen


class _Undo(Exception):
    pass


@contextmanager
def undone() -> Iterator[None]:
    """Take back what the block changes."""
    try:
        with transaction.atomic():
            yield
            raise _Undo
    except _Undo:
        pass


def text_of(response: Any) -> str:
    """Return all that a response says, its headers, too."""
    head = "".join(f"{name}: {value}\n" for name, value in response.items())
    return head + f"{response.cookies}\n" + b"".join(response).decode()


def is_login(response: Any) -> bool:
    return response.status_code == 302 and response["Location"].startswith("/admin/login/")


def assert_nothing(seen: Statements, response: Any, *, may_load: bool = False) -> None:
    """Assert that nothing was said, changed or recorded, and no text read."""
    assert seen.writes == []
    assert may_load or not seen.loads & TEXTS
    assert "canary" not in text_of(response)
