"""Conversations, their messages as a tree, and what is kept of a reply while it is written.

The order of locks is Conversation, LiveReply, Message, ReplyEvent, QuotaUse, everywhere: two processes that take them in
one order cannot deadlock. Review and Verdict are written under the lock of their conversation. Every transaction begins with
a write, since a default SQLite transaction that reads first and writes then fails when another wrote in between (16 of 20
at once failed; write first: 0).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.db.models.lookups import IsNull
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from streaming_chat.db.json_text import JSONText
from streaming_chat.db.uuid7 import uuid7
from streaming_chat.protocol import endings, events
from streaming_chat.protocol.endings import Ending
from streaming_chat.protocol.events import Event

from .reviews import SAMPLE_NUMBERS, ReviewState, random_sample_number


class Status(models.TextChoices):
    """The status of a reply."""

    STREAMING = endings.STREAMING, pgettext_lazy("reply", "being written")
    WAITING = endings.WAITING, pgettext_lazy("reply", "waiting for an answer")
    COMPLETED = endings.COMPLETED, pgettext_lazy("reply", "completed")
    STOPPED = endings.STOPPED, pgettext_lazy("reply", "stopped")
    INTERRUPTED = endings.INTERRUPTED, pgettext_lazy("reply", "interrupted")
    FAILED = endings.FAILED, pgettext_lazy("reply", "failed")


class ConversationQuerySet(models.QuerySet["Conversation"]):
    def for_owner(self, owner_key: str) -> ConversationQuerySet:
        """Return an owner's conversations, without the deleted ones; none for ""."""
        return self.owned_by(owner_key).filter(deleted_at=None)

    def owned_by(self, owner_key: str) -> ConversationQuerySet:
        """Return an owner's conversations, including deleted ones; none for "", the key of erased ones."""
        return self.filter(owner_key=owner_key) if owner_key else self.none()


# What staff find conversations by.
METADATA_KEYS = ("page", "version")


class Conversation(models.Model):
    """An owner's messages, as a tree whose leaf in view is `head`."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        verbose_name=_("owner"),
        null=True,
        blank=True,
        related_name="streaming_chat_conversations",
    )
    owner_key = models.CharField(
        _("owner key"),
        max_length=160,
        blank=True,
        editable=False,
        help_text=_("u:<pk> of a user, v:<hmac> of a visitor, empty once erased."),
    )
    chat_id = models.CharField(
        _("chat id"),
        max_length=128,
        null=True,
        blank=True,
        editable=False,
        help_text=_("The id that a client of the AI SDK has chosen, of this owner alone."),
    )
    title = models.CharField(_("title"), max_length=200, blank=True)
    system_prompt = models.TextField(_("system prompt"), blank=True)
    model = models.CharField(_("model"), max_length=255, blank=True)
    head = models.ForeignKey(
        "Message", models.SET_NULL, verbose_name=_("message in view"), null=True, blank=True, related_name="+"
    )
    last_status = models.CharField(_("last status"), max_length=16, blank=True, choices=Status.choices)
    message_count = models.PositiveIntegerField(_("messages"), default=0)
    input_tokens = models.PositiveBigIntegerField(_("input tokens"), default=0)
    output_tokens = models.PositiveBigIntegerField(_("output tokens"), default=0)
    cost = models.DecimalField(_("cost"), max_digits=16, decimal_places=8, null=True, blank=True)
    metadata = models.JSONField(_("metadata"), default=dict, blank=True)
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)
    last_activity = models.DateTimeField(_("last activity"), db_default=Now(), editable=False)
    deleted_at = models.DateTimeField(_("deleted"), null=True, blank=True, editable=False)
    erased_at = models.DateTimeField(_("erased"), null=True, blank=True, editable=False)
    # Defaults of the database, for workers of an older version, which do not set these columns.
    review_state = models.CharField(
        _("review"),
        max_length=16,
        choices=ReviewState.choices,
        default=ReviewState.UNREVIEWED,
        db_default=ReviewState.UNREVIEWED,
        editable=False,
    )
    needs_attention = models.BooleanField(_("needs attention"), default=False, db_default=False, editable=False)
    sample_number = models.PositiveSmallIntegerField(
        _("sample number"),
        default=random_sample_number,
        db_default=SAMPLE_NUMBERS,
        editable=False,
        help_text=_("A random sample takes the lowest numbers."),
    )

    objects = ConversationQuerySet.as_manager()

    class Meta:
        verbose_name = _("conversation")
        verbose_name_plural = _("conversations")
        ordering = ("-last_activity", "-id")
        # Permissions to add or change would open nothing. Deleting a user requires the ones to delete.
        default_permissions = ("view", "delete")
        permissions = (
            ("view_transcript", _("Can read the text of conversations")),
            ("stop_reply", _("Can stop a reply that is being written")),
            ("answer_tool_call", _("Can allow tool calls that wait for an answer")),
            ("export_transcript", _("Can export the text of conversations")),
            ("redact_transcript", _("Can redact the text of conversations")),
            ("review_conversation", _("Can review conversations")),
            ("revoke_link", _("Can revoke links to shared conversations")),
            ("block_owner", _("Can block owners from chatting")),
            ("export_owner", _("Can export everything that is stored about an owner")),
            ("erase_owner", _("Can erase an owner and all their text")),
        )
        constraints = (
            models.UniqueConstraint(fields=["owner_key", "chat_id"], name="streaming_chat_chat_id_of_owner"),
            models.CheckConstraint(
                name="streaming_chat_conversation_owned",
                condition=(Q(owner__isnull=False) & Q(owner_key__startswith="u:"))
                | (Q(owner__isnull=True) & Q(owner_key__startswith="v:"))
                | (Q(owner__isnull=True) & Q(owner_key="") & Q(erased_at__isnull=False)),
            ),
        )
        indexes = (
            models.Index(fields=["owner_key", "-last_activity", "-id"], name="streaming_chat_owner_recent"),
            models.Index(fields=["-last_activity", "-id"], name="streaming_chat_recent"),
            models.Index(fields=["last_status", "-last_activity"], name="streaming_chat_status_recent"),
            models.Index(fields=["model", "-last_activity"], name="streaming_chat_model_recent"),
            models.Index(
                fields=["review_state", "-last_activity", "-id", "sample_number"], name="streaming_chat_review_recent"
            ),
            models.Index(
                fields=["-last_activity", "-id"], name="streaming_chat_attention", condition=Q(needs_attention=True)
            ),
            models.Index(
                fields=["-last_activity", "-id"],
                name="streaming_chat_deleted_recent",
                condition=Q(deleted_at__isnull=False),
            ),
            *(
                models.Index(
                    JSONText("metadata", key=key),
                    F("last_activity").desc(),
                    F("id").desc(),
                    name=f"streaming_chat_{key}_recent",
                    condition=Q(IsNull(JSONText("metadata", key=key), False)),
                )
                for key in METADATA_KEYS
            ),
        )

    def __str__(self) -> str:
        # Never text: Django's admin log stores it.
        return gettext("Conversation {id}").format(id=self.pk)


class MessageQuerySet(models.QuerySet["Message"]):
    def for_owner(self, owner_key: str) -> MessageQuerySet:
        """Return the messages of an owner's conversations, without deleted ones; none for ""."""
        if not owner_key:
            return self.none()
        return self.filter(conversation__owner_key=owner_key, conversation__deleted_at=None)


class Message(models.Model):
    """One turn of a conversation, with a role and a text; a reply is one of role assistant.

    text is what its owner and later prompts see (it ends at cut_position), parts is everything received.
    """

    class Role(models.TextChoices):
        """Who wrote the message."""

        USER = "user", pgettext_lazy("role", "user")
        ASSISTANT = "assistant", pgettext_lazy("role", "assistant")

    class Origin(models.TextChoices):
        """Where the text is from: this server, or a stateless client that sent it as history."""

        SERVER = "server", pgettext_lazy("origin", "server")
        CLIENT = "client", pgettext_lazy("origin", "client")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    conversation = models.ForeignKey(
        Conversation, models.CASCADE, verbose_name=_("conversation"), related_name="messages"
    )
    parent = models.ForeignKey(
        "self",
        models.CASCADE,
        verbose_name=_("parent"),
        null=True,
        blank=True,
        related_name="children",
        # Its index is streaming_chat_siblings.
        db_index=False,
    )
    depth = models.PositiveIntegerField(
        default=0, editable=False, help_text="How many messages come before it on its branch."
    )
    continues = models.ForeignKey(
        "self",
        models.SET_NULL,
        verbose_name=_("continues"),
        null=True,
        blank=True,
        related_name="continuations",
        db_index=False,
        help_text=_("The reply whose text this one begins with."),
    )
    continued_at = models.PositiveIntegerField(
        _("continued at"), null=True, blank=True, help_text=_("Where what its own provider sent begins.")
    )
    role = models.CharField(_("role"), max_length=16, choices=Role.choices)
    origin = models.CharField(_("origin"), max_length=16, choices=Origin.choices, default=Origin.SERVER)
    text = models.TextField(_("text"), blank=True)
    parts = models.JSONField(_("parts"), default=list, blank=True)
    has_more_than_text = models.BooleanField(
        default=False, editable=False, help_text="Later prompts need its parts: there are tool calls, files or others."
    )
    position = models.PositiveIntegerField(
        _("position"), default=0, help_text=_("Units received before the ending, regardless of a cut.")
    )
    cut_position = models.PositiveIntegerField(_("cut at"), null=True, blank=True)
    status = models.CharField(_("status"), max_length=16, choices=Status.choices, default=Status.COMPLETED)
    end_reason = models.CharField(_("end reason"), max_length=32, blank=True)
    error_code = models.CharField(_("error code"), max_length=64, blank=True)
    ref = models.CharField(_("reference"), max_length=32, blank=True, help_text=_("Finds the error in the log."))
    provider = models.CharField(_("provider"), max_length=64, blank=True)
    model = models.CharField(_("model"), max_length=255, blank=True)
    effort = models.CharField(_("effort"), max_length=16, blank=True)
    output_name = models.CharField(
        _("output"), max_length=64, blank=True, help_text=_("The name of the object that it was to be.")
    )
    output_error = models.CharField(_("output error"), max_length=32, blank=True)
    request_id = models.CharField(_("provider's request id"), max_length=255, blank=True)
    finish_reason = models.CharField(_("provider's finish reason"), max_length=64, blank=True)
    input_tokens = models.PositiveBigIntegerField(_("input tokens"), null=True, blank=True)
    cached_input_tokens = models.PositiveBigIntegerField(_("cached input tokens"), null=True, blank=True)
    cache_write_tokens = models.PositiveBigIntegerField(_("cache write tokens"), null=True, blank=True)
    output_tokens = models.PositiveBigIntegerField(_("output tokens"), null=True, blank=True)
    reasoning_tokens = models.PositiveBigIntegerField(_("reasoning tokens"), null=True, blank=True)
    tokens_estimated = models.BooleanField(_("tokens estimated"), default=False)
    cost = models.DecimalField(_("cost"), max_digits=16, decimal_places=8, null=True, blank=True)
    first_event_ms = models.PositiveIntegerField(_("time to first token, ms"), null=True, blank=True)
    reasoning_ms = models.PositiveIntegerField(_("milliseconds of reasoning"), null=True, blank=True)
    duration_ms = models.PositiveIntegerField(_("total time, ms"), null=True, blank=True)
    omitted_messages = models.PositiveIntegerField(
        _("messages left out"), default=0, help_text=_("Oldest messages that did not fit into the prompt.")
    )
    page_context = models.JSONField(
        _("page"),
        null=True,
        blank=True,
        help_text=_("What the site's page told about itself: `metadata` and `greeting`. Of a user's message only."),
    )
    send_key = models.CharField(_("send key"), max_length=64, null=True, blank=True, editable=False, unique=True)
    body_digest = models.CharField(_("body digest"), max_length=64, blank=True, editable=False)
    history_digest = models.CharField(
        max_length=64, blank=True, editable=False, help_text="Of what came before a reply to a stateless client."
    )
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True, editable=False)
    redacted_at = models.DateTimeField(_("redacted"), null=True, blank=True, editable=False)
    # Null rather than "": a column without a default is added to a large table quickly.
    redacted_by = models.CharField(_("redacted by"), max_length=255, null=True, blank=True, editable=False)
    is_partly_redacted = models.BooleanField(
        default=False,
        db_default=False,
        editable=False,
        help_text="Only passages were redacted, so there may be more to redact.",
    )

    objects = MessageQuerySet.as_manager()
    # The validated object, of the reply that `send_message` has returned.
    parsed: Any = None

    class Meta:
        verbose_name = _("message")
        verbose_name_plural = _("messages")
        ordering = ("created_at", "id")
        default_permissions = ("delete",)
        constraints = (
            models.CheckConstraint(
                name="streaming_chat_user_messages_are_complete",
                condition=~Q(role="user") | Q(status=endings.COMPLETED),
            ),
        )
        indexes = (
            models.Index(fields=["conversation", "created_at", "id"], name="streaming_chat_message_order"),
            # The messages after one another, also the first ones of a conversation, in order and without reading a text.
            models.Index(fields=["parent", "conversation", "created_at", "id"], name="streaming_chat_siblings"),
            models.Index(fields=["status", "-created_at"], name="streaming_chat_message_status"),
            models.Index(fields=["continues"], name="streaming_chat_continues", condition=Q(continues__isnull=False)),
            models.Index(fields=["request_id"], name="streaming_chat_request_id", condition=~Q(request_id="")),
            models.Index(fields=["ref"], name="streaming_chat_ref", condition=~Q(ref="")),
            models.Index(fields=["history_digest"], name="streaming_chat_history", condition=~Q(history_digest="")),
            # For the admin's list: newest first by id, which begins with the time. With the conversation, the index alone
            # is read; without it, PostgreSQL looked for the replies of a retired model among all the newer ones.
            models.Index(
                fields=["model", "-id", "conversation"], name="streaming_chat_message_model", condition=~Q(model="")
            ),
            models.Index(
                fields=["end_reason", "-id"], name="streaming_chat_message_reason", condition=~Q(end_reason="")
            ),
            models.Index(
                fields=["error_code", "-id"], name="streaming_chat_message_error", condition=~Q(error_code="")
            ),
        )

    def __str__(self) -> str:
        return gettext("Message {id}").format(id=self.pk)

    @property
    def is_reply(self) -> bool:
        """Whether a provider writes or wrote it, or a client says so."""
        return self.role == self.Role.ASSISTANT

    @property
    def is_live(self) -> bool:
        """Whether the reply had not ended when this row was read."""
        return self.status in endings.LIVE

    @property
    def end_position(self) -> int:
        """Where the reply ends for its owner."""
        return self.position if self.cut_position is None else min(self.cut_position, self.position)

    @property
    def ending(self) -> Ending:
        """How an ended reply ended."""
        return Ending(self.status, self.end_reason, self.error_code, self.ref, self.cut_position)

    @property
    def can_continue(self) -> bool:
        """Whether it was cut off after some text, so that a provider can continue it."""
        may_continue = self.is_reply and self.redacted_at is None and not self.output_name
        return may_continue and endings.can_continue(self.ending, self.text)

    @property
    def output(self) -> dict[str, Any] | None:
        """The object that the reply consists of, as JSON; None if it is a text, or has no valid object."""
        return endings.output_of(self.status, self.text, self.output_error) if self.output_name else None

    @property
    def usage(self) -> dict[str, Any] | None:
        """The tokens as in the API; None if they are unknown."""
        return usage_of({name: getattr(self, name) for name in (*_TOKENS, "tokens_estimated")})

    def start_payload(self) -> dict[str, Any]:
        """Return what the stream's `start` event says."""
        return {
            "message": str(self.pk),
            "user_message": str(self.parent_id),
            "conversation": str(self.conversation_id),
            "model": self.model,
        }

    def end_payload(self) -> dict[str, Any]:
        """Return what the stream's `end` event says of an ended reply."""
        output_error = self.output_error if self.output_name else None
        said = endings.payload(self.ending, self.text, self.usage, output_error, self.model)
        return {**said, "can_continue": self.can_continue}

    def events(self, *, whole: bool = False) -> list[Event]:
        """Return an ended reply's events without start and ending, to its cut, or whole."""
        all_events = events.from_parts(self.parts)
        return list(all_events if whole else events.before(all_events, self.end_position, 1))


_TOKENS = ("input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")


def usage_of(columns: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the tokens as in the API; None if they are unknown. columns: of a reply, or some of them."""
    if columns.get("input_tokens") is None and columns.get("output_tokens") is None:
        return None
    return {**{name: columns.get(name) for name in _TOKENS}, "estimated": columns.get("tokens_estimated", False)}
