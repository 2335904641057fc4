"""What is kept of a reply beside its message: while it is written, its lease and its saved events; then the provider's
opaque state, and what its owner thought of it."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Case, F, Q, When
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from streaming_chat.conf import conf
from streaming_chat.db.leases import lease_judge
from streaming_chat.protocol import events
from streaming_chat.protocol.events import Event

from .conversations import Conversation, Message

# The worker of a reply that waits for an answer.
NOBODY = ""
# In place of the name of a worker that has died, or of none: while the reply is ended.
RECOVERED = "recovered"
# By a second, since SQLite compares times as text, of which some have three decimals and some six.
_PAST = Now() - timedelta(seconds=1)


class LiveReplyQuerySet(models.QuerySet["LiveReply"]):
    def expired(self) -> LiveReplyQuerySet:
        """Return the replies whose worker has not renewed its lease in time, by the database's clock."""
        return self.filter(expires_at__lt=Now())

    def abandoned(self) -> LiveReplyQuerySet:
        """Return the expired ones: those of workers only if this process may expire them (see db/leases.py)."""
        expired = self.expired()
        return expired if lease_judge.may_expire_others else expired.filter(worker=NOBODY)

    def request_stop(self, by: str, position: int | None = None) -> int:
        """Ask their workers to end these replies; the first stop wins. Returns how many took it.

        A reply that waits for an answer expires instead, so that it is recovered by the first process that looks at it.
        """
        now_expired = Case(When(worker=NOBODY, then=_PAST), default=F("expires_at"))
        return self.filter(stop=None).update(stop=by, stop_position=position, expires_at=now_expired)

    def remove(self) -> int:
        """Delete without loading, and return how many: `.delete()` would SELECT first where a site listens to it."""
        return self._raw_delete(self.db)


class LiveReply(models.Model):
    """One row per reply that has not ended: lease, stop flag, cap per owner and "live now" in one.

    A reply that waits for an answer has no worker, no lease and no slot; `expires_at` is when it stops waiting.
    """

    message = models.OneToOneField(
        Message, models.CASCADE, verbose_name=_("message"), primary_key=True, related_name="live"
    )
    conversation = models.OneToOneField(
        Conversation, models.CASCADE, verbose_name=_("conversation"), related_name="live"
    )
    owner_key = models.CharField(_("owner key"), max_length=160)
    slot = models.PositiveSmallIntegerField(
        _("slot"), null=True, blank=True, help_text=_("The database holds the cap per owner.")
    )
    worker = models.CharField(_("worker"), max_length=64, blank=True)
    expires_at = models.DateTimeField(_("expires"))
    followed_until = models.DateTimeField(_("followed until"), null=True, blank=True)
    stop = models.CharField(_("stop asked by"), max_length=16, null=True, blank=True)
    stop_position = models.PositiveIntegerField(_("stop at"), null=True, blank=True)
    reserved = models.JSONField(
        _("reserved"), null=True, blank=True, help_text=_("What its quota takes back when it has ended.")
    )

    objects = LiveReplyQuerySet.as_manager()

    class Meta:
        verbose_name = _("live reply")
        verbose_name_plural = _("live replies")
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(fields=["owner_key", "slot"], name="streaming_chat_live_per_owner"),
            # A blocked owner gets no slot, so the database refuses the reply (chats/live_reply_limit.py). A reply that
            # waits has none, also while it is ended because nobody has answered.
            models.CheckConstraint(
                condition=Q(worker__in=[NOBODY, RECOVERED]) | Q(slot__isnull=False), name="streaming_chat_live_slot"
            ),
        )

    def __str__(self) -> str:
        return f"Live reply {self.pk}"

    @classmethod
    def lease(cls) -> Any:
        """Return when a lease that starts now expires, by the database's clock."""
        return Now() + timedelta(seconds=conf.STREAMING_CHAT_LEASE_SECONDS)

    @classmethod
    def expired_lease(cls) -> Any:
        """Return when a lease that is over has expired, by the database's clock."""
        return _PAST


class ReplyEventQuerySet(models.QuerySet["ReplyEvent"]):
    def stream(self, message_id: uuid.UUID) -> list[Event]:
        """Return the saved events of a live reply, merged, in order."""
        rows = self.filter(message_id=message_id).order_by("position").values_list("kind", "payload")
        return list(events.merge(Event(kind, payload) for kind, payload in rows))

    def remove(self) -> None:
        """Delete without loading, as `LiveReplyQuerySet.remove`."""
        self._raw_delete(self.db)


class ReplyEvent(models.Model):
    """A saved piece of a live reply; deleted when its message has its parts.

    Appending for 100 streams wrote 34.6 KB of WAL a second in 358 commits; rewriting the text took 471 KB.
    """

    message = models.ForeignKey(
        Message, models.CASCADE, verbose_name=_("message"), related_name="reply_events", db_index=False
    )
    position = models.PositiveIntegerField(_("position"))
    kind = models.CharField(_("kind"), max_length=32)
    payload = models.JSONField(_("payload"))

    objects = ReplyEventQuerySet.as_manager()

    class Meta:
        verbose_name = _("reply event")
        verbose_name_plural = _("reply events")
        default_permissions = ()
        constraints = (models.UniqueConstraint(fields=["message", "position"], name="streaming_chat_event_position"),)

    def __str__(self) -> str:
        return f"Event {self.position} of {self.message_id}"


class ProviderState(models.Model):
    """What the provider of a reply wants to have back unchanged while tools run (see `ProviderStream.state`).

    One row per call of the provider that has any. It is in a table of its own so that nothing that reads messages reads it:
    no client, transcript or export gets it.
    """

    message = models.ForeignKey(
        Message, models.CASCADE, verbose_name=_("message"), related_name="provider_states", db_index=False
    )
    call = models.PositiveSmallIntegerField(
        default=0, help_text="Counts the calls of the provider for this reply, from 0."
    )
    # JSON as text: PostgreSQL's jsonb changes the order of keys and refuses some strings.
    state = models.TextField()

    class Meta:
        verbose_name = _("provider state")
        verbose_name_plural = _("provider states")
        default_permissions = ()
        constraints = (models.UniqueConstraint(fields=["message", "call"], name="streaming_chat_provider_call"),)

    def __str__(self) -> str:
        return f"State of {self.message_id}"


class Feedback(models.Model):
    """What someone thought of a reply: 1 for good, -1 for bad."""

    message = models.ForeignKey(Message, models.CASCADE, verbose_name=_("message"), related_name="feedback")
    value = models.SmallIntegerField(_("value"))
    comment = models.TextField(_("comment"), blank=True)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, verbose_name=_("by"), null=True, blank=True, related_name="+"
    )
    owner_key = models.CharField(_("owner key"), max_length=160)
    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)
    updated_at = models.DateTimeField(_("updated"), db_default=Now(), editable=False)

    class Meta:
        verbose_name = _("feedback")
        verbose_name_plural = _("feedback")
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(fields=["message", "owner_key"], name="streaming_chat_feedback_once"),
            models.CheckConstraint(condition=Q(value__in=(-1, 1)), name="streaming_chat_feedback_value"),
        )
        indexes = (
            # For the admin's list: newest first, all of them, by value, or only those with a comment.
            models.Index(fields=["-updated_at", "-id"], name="streaming_chat_feedback_recent"),
            models.Index(fields=["value", "-updated_at", "-id"], name="streaming_chat_feedback_values"),
            models.Index(fields=["-updated_at", "-id"], name="streaming_chat_feedback_texts", condition=~Q(comment="")),
            # For erasures and merges, too.
            models.Index(fields=["owner_key", "-updated_at", "-id"], name="streaming_chat_feedback_owner"),
        )

    def __str__(self) -> str:
        return f"Feedback {self.pk}"
