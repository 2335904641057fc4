"""The calls of the site's tools, one row each: what was called, whether it ran, and who allowed it."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from streaming_chat.protocol import tool_calls

from .conversations import Message


class ToolCall(models.Model):
    """A call of a tool in a reply. It runs at most once: `running` is committed before the tool is called.

    The events of the reply have the same calls and results; this row has what must not be lost between them, and what staff
    look for. step: the call of the provider that asked for it, from 1. name: by the model, which may have invented it.
    digest: of the tool, as it was when the call began to run or to wait; "" for a call that did neither. is_idempotent: it
    may run again if its worker dies, which is the one exception. runs: how often it began to run. ms: how long the tool ran.
    answer: what a person has said to it.
    """

    class State(models.TextChoices):
        """Where a call is in its life."""

        REQUESTED = "requested", pgettext_lazy("tool call", "requested")
        WAITING = "waiting", pgettext_lazy("tool call", "waiting for an answer")
        APPROVED = "approved", pgettext_lazy("tool call", "allowed")
        RUNNING = "running", pgettext_lazy("tool call", "running")
        OK = tool_calls.OK, pgettext_lazy("tool call", "done")
        ERROR = tool_calls.ERROR, pgettext_lazy("tool call", "failed")
        DENIED = tool_calls.DENIED, pgettext_lazy("tool call", "denied")
        CANCELLED = tool_calls.CANCELLED, pgettext_lazy("tool call", "cancelled")
        UNKNOWN = tool_calls.UNKNOWN, pgettext_lazy("tool call", "unknown")

    message = models.ForeignKey(
        Message, models.CASCADE, verbose_name=_("message"), related_name="tool_calls", db_index=False
    )
    call_id = models.CharField(_("call"), max_length=255)
    step = models.PositiveSmallIntegerField(_("step"))
    name = models.CharField(_("tool"), max_length=255)
    arguments = models.TextField(_("arguments"))
    digest = models.CharField(max_length=64, blank=True, editable=False)
    status = models.CharField(_("status"), max_length=16, choices=State.choices, default=State.REQUESTED)
    worker = models.CharField(_("worker"), max_length=64, blank=True)
    is_idempotent = models.BooleanField(default=False, editable=False)
    runs = models.PositiveSmallIntegerField(_("runs"), default=0, editable=False)
    started_at = models.DateTimeField(_("started"), null=True, blank=True, editable=False)
    ended_at = models.DateTimeField(_("ended"), null=True, blank=True, editable=False)
    ms = models.PositiveIntegerField(_("milliseconds"), null=True, blank=True, editable=False)
    output = models.TextField(_("output"), blank=True)
    answer = models.JSONField(_("answer"), null=True, blank=True)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        verbose_name=_("answered by"),
        null=True,
        blank=True,
        related_name="+",
    )
    answered_at = models.DateTimeField(_("answered"), null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("tool call")
        verbose_name_plural = _("tool calls")
        default_permissions = ()
        constraints = (models.UniqueConstraint(fields=["message", "call_id"], name="streaming_chat_tool_call"),)
        indexes = (
            # For staff, newest first by id: the calls of tools that there are, and the calls that wait.
            models.Index(fields=["name", "-id"], name="streaming_chat_tool_recent", condition=~models.Q(digest="")),
            models.Index(fields=["-id"], name="streaming_chat_tool_waiting", condition=models.Q(status="waiting")),
        )

    def __str__(self) -> str:
        # Never the arguments: Django's admin log stores it.
        return f"Tool call {self.pk}"

    @property
    def known_name(self) -> str:
        """The name of a tool; "" for one that a model may have invented, which is text."""
        return self.name if self.digest else ""

    @property
    def is_open(self) -> bool:
        """Whether it has no result yet."""
        return self.status in OPEN

    @classmethod
    def open_of(cls, message_id: object, using: str) -> models.QuerySet[ToolCall]:
        """Return the calls of a reply without a result."""
        return cls.objects.using(using).filter(message_id=message_id, status__in=OPEN)


OPEN = frozenset({"requested", "waiting", "approved", "running"})
