"""The bar on a transcript: what it shows of the review, read with the conversation, and who may see it."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Func, IntegerField, JSONField, OuterRef, QuerySet, Subquery
from django.db.models.functions import JSONObject
from django.http import HttpRequest, QueryDict
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _

from streaming_chat.conf import conf
from streaming_chat.models import Conversation, Mark, Message, Review, ReviewState, Verdict
from streaming_chat.review import queues, reviews
from streaming_chat.review.queues import Queue

from .pagination import MaxCount

# What the transcript's address may say, and keeps from one form to the next.
_KEPT = ("message", "page", "_changelist_filters", "queue")


def may_review(request: HttpRequest) -> bool:
    """Return whether who asks may judge conversations, which they must be able to read."""
    wanted = ("view_conversation", "view_transcript", "review_conversation")
    return request.user.has_perms([f"streaming_chat.{permission}" for permission in wanted])


class _Count(Subquery):
    """How many rows a query has."""

    template = "(SELECT COUNT(*) FROM (%(subquery)s) counted)"
    output_field = IntegerField()


class _Collected(Subquery):
    """The rows of a query, whose column `said` is JSON, as a list; None for none."""

    template = "(SELECT JSON_GROUP_ARRAY(JSON(said)) FROM (%(subquery)s) collected)"
    output_field = JSONField()

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """PostgreSQL's name for it."""
        context["template"] = "(SELECT JSONB_AGG(said) FROM (%(subquery)s) collected)"
        return self.as_sql(compiler, connection, **context)


class _Object(JSONObject):
    """A JSON object.

    Whether SQLite can, Django asks by a transaction, once for a connection; while another writes it takes "locked" for "no",
    and every transcript on that connection fails from then on. Every SQLite that Django takes can.
    """

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """The same, unasked."""
        return Func.as_sql(self, compiler, connection, **context)


@dataclass(frozen=True)
class Opined:
    """One reviewer's verdict and labels. by: the primary key of their account, None once it is gone."""

    message: uuid.UUID | None
    by: Any
    name: str
    verdict: str
    labels: list[str]

    @classmethod
    def load(cls, row: dict[str, Any]) -> Opined:
        """Return what `_collected_marks` has collected."""
        message, labels = row["message"], row["labels"]
        return cls(
            message=uuid.UUID(message) if message else None,
            by=get_user_model()._meta.pk.to_python(row["by"]),
            name=row["name"] or "?",
            verdict=row["verdict"],
            # SQLite keeps JSON in a text.
            labels=json.loads(labels) if isinstance(labels, str) else labels,
        )

    def __str__(self) -> str:
        verdict = str(Verdict(self.verdict).label) if self.verdict in Verdict.values else self.verdict
        return _("{name}: {said}").format(name=self.name, said=", ".join(filter(None, [verdict, *self.labels])))


@dataclass(frozen=True)
class Judged:
    """What was said of one message, or of the conversation: by who asks, and by others."""

    mine: Opined | None
    others: list[Opined]

    @property
    def verdict(self) -> str:
        """The verdict of who asks."""
        return self.mine.verdict if self.mine else ""

    @property
    def labels(self) -> list[str]:
        """The labels of who asks."""
        return self.mine.labels if self.mine else []


@dataclass(frozen=True)
class Bar:
    """What the review's part of a transcript shows."""

    conversation: Conversation
    review: Review
    queue: Queue
    left: int
    done_today: int
    newest: uuid.UUID | None
    back: str
    user: Any = field(repr=False)
    opinions: list[Opined] = field(repr=False)

    queues = Queue
    verdicts = Verdict
    max_notes = reviews.MAX_NOTES_CHARS

    @property
    def url(self) -> str:
        """Where its form goes."""
        return reverse("admin:streaming_chat_conversation_review", args=[self.conversation.pk])

    @property
    def all_labels(self) -> list[str]:
        """What there is to label with."""
        return list(conf.STREAMING_CHAT_REVIEW_LABELS)

    @property
    def activity(self) -> str:
        """The last activity, to the microsecond."""
        return self.conversation.last_activity.isoformat()

    @property
    def state(self) -> str:
        """How far the review is, and with whom."""
        return state_of(self.conversation)

    @property
    def is_reopened(self) -> bool:
        """Whether it was done before something was added."""
        return bool(self.review.done_at) and self.conversation.review_state != ReviewState.DONE

    @property
    def whole(self) -> Judged:
        """What was said of the conversation."""
        return self.of(None)

    def of(self, message: uuid.UUID | None) -> Judged:
        """Return what was said of a message."""
        said = [opinion for opinion in self.opinions if opinion.message == message]
        mine = next((opinion for opinion in said if opinion.by == self.user.pk), None)
        return Judged(mine, [opinion for opinion in said if opinion is not mine])


def with_bar(request: HttpRequest, conversations: QuerySet[Conversation]) -> QuerySet[Conversation]:
    """Return a transcript's conversation with all that its bar shows: what it costs is a part of one query.

    Read before the messages are: what comes in between was not seen.
    """
    if not may_review(request):
        return conversations
    queue = queue_of(request.GET)
    newest = Message.objects.filter(conversation=OuterRef("pk")).order_by("-created_at", "-pk")
    return conversations.select_related("review__reviewer", "review__done_by").annotate(
        newest=Subquery(newest.values("pk")[:1]),
        left=_Count(queues.waiting(queue).values("pk")[: queues.MAX_LEFT])
        + _Count(queues.expired(queue).values("pk")[: queues.MAX_LEFT]),
        done_today=_Count(queues.done_since(request.user, queues.today()).values("pk")),
        opinions=_Collected(_collected_marks()),
    )


def _collected_marks() -> QuerySet[Any]:
    name = f"by__{get_user_model().USERNAME_FIELD}"
    said = _Object(message="message", by="by", name=name, verdict="verdict", labels="labels")
    return Mark.objects.filter(conversation=OuterRef("pk")).order_by("pk").values(said=said)


def bar(request: HttpRequest, conversation: Any) -> Bar | None:
    """Return what the bar of a conversation from `with_bar` shows; None for who may not judge it."""
    if not may_review(request):
        return None
    return Bar(
        conversation=conversation,
        review=getattr(conversation, "review", None) or Review(conversation_id=conversation.pk),
        queue=queue_of(request.GET),
        left=conversation.left if conversation.left < queues.MAX_LEFT else MaxCount(queues.MAX_LEFT),
        done_today=conversation.done_today,
        newest=conversation.newest,
        back=kept(request.GET).urlencode(),
        user=request.user,
        opinions=[Opined.load(row) for row in conversation.opinions or []],
    )


def state_of(conversation: Conversation) -> str:
    """Return the state of a review in words, with who has it since when."""
    review = getattr(conversation, "review", None)
    if conversation.review_state == ReviewState.IN_REVIEW and _is_expired(review):
        return str(ReviewState.UNREVIEWED.label)
    words = conversation.get_review_state_display()
    if review is None:
        return words
    if conversation.review_state == ReviewState.IN_REVIEW:
        return _("{state}: {name}, {when}").format(
            state=words, name=name_of(review.reviewer), when=time_of(review.claimed_at)
        )
    if conversation.review_state == ReviewState.DONE:
        return _("{state}: {name}, {when}").format(
            state=words, name=name_of(review.done_by), when=time_of(review.done_at)
        )
    return words


def _is_expired(review: Review | None) -> bool:
    """Return what `queues.expired` does, by this host's clock: for a row that was read already."""
    return review is None or review.claimed_at is None or timezone.now() - review.claimed_at > queues.CLAIM


def kept(query: QueryDict) -> QueryDict:
    kept = QueryDict(mutable=True)
    for name in _KEPT:
        if name in query:
            kept[name] = query.get(name) or ""
    return kept


def queue_of(form: QueryDict) -> Queue:
    name = form.get("queue")
    return Queue(name) if name in Queue.values else Queue.ATTENTION


def name_of(user: Any) -> str:
    return str(user.get_username()) if user else "?"


def time_of(when: datetime | None) -> str:
    return date_format(localtime(when), "SHORT_DATETIME_FORMAT") if when else "?"
