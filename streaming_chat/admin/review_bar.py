"""The review bar of a transcript: what it shows, read in the same query as the conversation, and who sees it."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from django.contrib.auth import get_user_model
from django.db.models import (
    BooleanField,
    ExpressionWrapper,
    Func,
    IntegerField,
    JSONField,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
)
from django.db.models.functions import JSONObject
from django.http import HttpRequest, QueryDict
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _

from streaming_chat.conf import conf
from streaming_chat.models import Conversation, Message, Review, ReviewState, Verdict
from streaming_chat.review import queues, reviews
from streaming_chat.review.queues import Queue
from streaming_chat.review.verdicts import MAX_CORRECTION_CHARS

from .lists import MaxCount

# Parameters of the transcript's address that survive the submission of a form.
_OF_LIST = ("_changelist_filters", "queue")
_PERSISTENT = ("message", "page", *_OF_LIST)


def may_review(request: HttpRequest) -> bool:
    """Return whether the user may review conversations, which includes reading them."""
    wanted = ("view_conversation", "view_transcript", "review_conversation")
    return request.user.has_perms([f"streaming_chat.{permission}" for permission in wanted])


class _Count(Subquery):
    """The number of rows of a query."""

    template = "(SELECT COUNT(*) FROM (%(subquery)s) counted)"
    output_field = IntegerField()


class _JSONList(Subquery):
    """The column `row` of a query, which is JSON, as a list; None if the query has no rows."""

    template = "(SELECT JSON_GROUP_ARRAY(JSON(row)) FROM (%(subquery)s) collected)"
    output_field = JSONField()

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """Use PostgreSQL's function."""
        context["template"] = "(SELECT JSONB_AGG(collected.row) FROM (%(subquery)s) collected)"
        return self.as_sql(compiler, connection, **context)


class _JSONObject(JSONObject):
    """A JSON object, without Django's check whether SQLite supports JSON. Every SQLite that Django supports does.

    The check runs a transaction once per connection. While another process writes, it takes "locked" for "no", and every
    transcript on that connection fails from then on.
    """

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """Skip the check."""
        return Func.as_sql(self, compiler, connection, **context)


class Verdicts(NamedTuple):
    """The verdicts on one message, or on the conversation.

    mine: empty if the user gave none. others: in words. corrections: by others, with their names.
    """

    mine: Verdict
    others: list[str]
    corrections: list[tuple[str, str]]


@dataclass(frozen=True)
class ReviewBar:
    """What the review bar of a transcript shows."""

    conversation: Conversation
    review: Review
    queue: Queue
    left: int
    done_today: int
    newest: uuid.UUID | None
    back: str
    user: Any = field(repr=False)
    verdicts: list[Verdict] = field(repr=False)

    queues = Queue.choices
    values = Verdict.Value.choices
    max_notes = reviews.MAX_NOTES_CHARS
    max_correction = MAX_CORRECTION_CHARS

    @property
    def url(self) -> str:
        """The address that the form is submitted to."""
        return reverse("admin:streaming_chat_conversation_review", args=[self.conversation.pk])

    @property
    def all_labels(self) -> list[str]:
        """STREAMING_CHAT_REVIEW_LABELS."""
        return list(conf.STREAMING_CHAT_REVIEW_LABELS)

    @property
    def last_activity(self) -> str:
        """The last activity, to the microsecond."""
        return self.conversation.last_activity.isoformat()

    @property
    def state(self) -> str:
        """The state of the review, in words."""
        return describe_state(self.conversation)

    @property
    def is_done(self) -> bool:
        """Whether the review is finished."""
        return self.conversation.review_state == ReviewState.DONE

    @property
    def is_mine(self) -> bool:
        """Whether the user has taken the conversation."""
        return self.conversation.review_state == ReviewState.IN_REVIEW and self.review.reviewer_id == self.user.pk

    @property
    def is_reopened(self) -> bool:
        """Whether something was added after the review was done."""
        return bool(self.review.done_at) and not self.is_done

    @property
    def on_conversation(self) -> Verdicts:
        """The verdicts on the conversation as a whole."""
        return self.verdicts_on(None)

    def verdicts_on(self, message: uuid.UUID | None) -> Verdicts:
        """Return the verdicts on a message; None is the conversation as a whole."""
        found = [verdict for verdict in self.verdicts if verdict.message_id == message]
        mine = next((verdict for verdict in found if verdict.by_id == self.user.pk), None)
        others = [verdict for verdict in found if verdict is not mine]
        corrections = [(_user_name(verdict.by), verdict.correction) for verdict in others if verdict.correction]
        return Verdicts(mine or Verdict(), [describe_verdict(verdict) for verdict in others], corrections)


def with_review(request: HttpRequest, conversations: QuerySet[Conversation]) -> QuerySet[Conversation]:
    """Add everything that the review bar shows to the query of a transcript's conversation.

    It is read before the messages, so a message that arrives in between does not count as seen.
    """
    if not may_review(request):
        return conversations
    queue = queue_of(request.GET)
    newest = Message.objects.filter(conversation=OuterRef("pk")).order_by("-created_at", "-pk")
    return conversations.select_related("review__reviewer", "review__done_by").annotate(
        newest=Subquery(newest.values("pk")[:1]),
        left=_Count(queues.unreviewed(queue).values("pk")[: queues.MAX_COUNT])
        + _Count(queues.expired(queue).values("pk")[: queues.MAX_COUNT]),
        done_today=_Count(queues.reviewed_today(request.user).values("pk")),
        verdict_rows=_JSONList(_verdict_rows(correction="correction")),
    )


def with_verdicts(request: HttpRequest, conversations: QuerySet[Conversation]) -> QuerySet[Conversation]:
    """Add what `describe_verdicts` shows to the query of a list, for users who may review."""
    if not may_review(request):
        return conversations
    is_corrected = ExpressionWrapper(~Q(correction=""), BooleanField())
    return conversations.annotate(verdict_rows=_JSONList(_verdict_rows(is_corrected=is_corrected)))


def describe_verdicts(conversation: Any) -> str:
    """Return all verdicts on a conversation of `with_verdicts` and its messages, in words."""
    rows = conversation.verdict_rows or []
    words = (describe_verdict(_verdict(row), is_corrected=bool(row["is_corrected"])) for row in rows)
    return " · ".join(dict.fromkeys(words))


def _verdict_rows(**more: Any) -> QuerySet[Any]:
    name = f"by__{get_user_model().USERNAME_FIELD}"
    row = _JSONObject(message="message", by="by", name=name, value="value", labels="labels", **more)
    return Verdict.objects.filter(conversation=OuterRef("pk")).order_by("pk").values(row=row)


def _verdict(row: dict[str, Any]) -> Verdict:
    """Return a verdict from a row of `_verdict_rows`."""
    user_model: Any = get_user_model()
    message, labels = row["message"], row["labels"]
    by = None
    if row["by"] is not None:
        pk = user_model._meta.pk.to_python(row["by"])
        by = user_model(**{"pk": pk, user_model.USERNAME_FIELD: row["name"]})
    return Verdict(
        message_id=uuid.UUID(message) if message else None,
        by=by,
        value=row["value"],
        # SQLite returns the JSON column as text.
        labels=json.loads(labels) if isinstance(labels, str) else labels,
        correction=row.get("correction", ""),
    )


def review_bar(request: HttpRequest, conversation: Any) -> ReviewBar | None:
    """Return the review bar of a conversation from `with_review`; None for users who may not review it."""
    if not may_review(request):
        return None
    return ReviewBar(
        conversation=conversation,
        review=getattr(conversation, "review", None) or Review(conversation_id=conversation.pk),
        queue=queue_of(request.GET),
        left=conversation.left if conversation.left < queues.MAX_COUNT else MaxCount(queues.MAX_COUNT),
        done_today=conversation.done_today,
        newest=conversation.newest,
        back=persistent_query(request.GET).urlencode(),
        user=request.user,
        verdicts=[_verdict(row) for row in conversation.verdict_rows or []],
    )


def describe_state(conversation: Conversation) -> str:
    """Return the state of a review in words, with the reviewer and the time."""
    review = getattr(conversation, "review", None)
    state = conversation.review_state
    if state == ReviewState.IN_REVIEW and _is_expired(review):
        return str(ReviewState.UNREVIEWED.label)
    words = conversation.get_review_state_display()
    if review is None or state == ReviewState.UNREVIEWED:
        return words
    is_done = state == ReviewState.DONE
    user, when = (review.done_by, review.done_at) if is_done else (review.reviewer, review.taken_at)
    return _("{state}: {name}, {when}").format(state=words, name=_user_name(user), when=_format_time(when))


def _is_expired(review: Review | None) -> bool:
    """Return the same as `queues.expired` for a row that was read already, by this host's clock."""
    return review is None or review.taken_at is None or timezone.now() - review.taken_at > queues.TAKE_TIMEOUT


def describe_verdict(verdict: Verdict, *, is_corrected: bool | None = None) -> str:
    """Return a verdict in words: "rita: bad, rude". is_corrected: for one whose correction was not read."""
    corrected = bool(verdict.correction) if is_corrected is None else is_corrected
    words = ", ".join(
        filter(None, [str(verdict.get_value_display()), *verdict.labels, _("corrected") if corrected else ""])
    )
    return _("{name}: {verdict}").format(name=_user_name(verdict.by), verdict=words)


def persistent_query(query: QueryDict) -> QueryDict:
    """Return the parameters of a transcript's address that survive the submission of a form."""
    kept = QueryDict(mutable=True)
    for name in _PERSISTENT:
        if name in query:
            kept[name] = query.get(name) or ""
    return kept


def kept_query(query: QueryDict) -> str:
    """Return how the address of each link to a message begins: with the queue and the list that the transcript is from."""
    kept = persistent_query(query)
    for name in ("message", "page"):
        kept.pop(name, None)
    return f"{kept.urlencode()}&" if kept else ""


def list_query(request: HttpRequest) -> dict[str, str]:
    """Return the filters and the queue from which a transcript was opened, as a form has sent them in `back`."""
    sent = persistent_query(QueryDict(request.POST.get("back", "")))
    return {name: str(sent[name]) for name in _OF_LIST if name in sent}


def queue_of(form: QueryDict) -> Queue:
    """Return the queue that a form or an address names, by default the one of what needs attention."""
    name = form.get("queue")
    return Queue(name) if name in Queue.values else Queue.ATTENTION


def _user_name(user: Any) -> str:
    return str(user.get_username()) if user else "?"


def _format_time(when: datetime | None) -> str:
    return date_format(localtime(when), "SHORT_DATETIME_FORMAT") if when else "?"
