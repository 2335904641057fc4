"""Redacting passages of a message or a conversation: a form, a preview of what it finds, and the redaction, all by POST.

The preview shows text, so these pages need the permission to read, too.
"""

from __future__ import annotations

import uuid
from typing import Any, cast

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from streaming_chat.conf import conf
from streaming_chat.db.alias import live_database
from streaming_chat.models import AccessRecord, Conversation, Message
from streaming_chat.privacy.audit import record
from streaming_chat.privacy.occurrences import Scope, preview
from streaming_chat.privacy.partial_redactions import redact_passages
from streaming_chat.privacy.passages import Passages
from streaming_chat.privacy.redactions import StillLiveError
from streaming_chat.protocol.storable_text import storable

from .history import log_change
from .lists import may_read
from .pages import render_page, retry_on_lock_timeout, transcript_url
from .review_bar import list_query

_MAX_TEXT_CHARS = 10_000
_MAX_REASON_CHARS = 255
# Passages that a preview lists. It counts all of them.
_MOST_SHOWN = 100


class PassagesForm(forms.Form):
    """What is to be redacted, and where. message: from whose button the form was opened."""

    text = forms.CharField(
        label=gettext_lazy("Text"),
        required=False,
        max_length=_MAX_TEXT_CHARS,
        widget=forms.Textarea(attrs={"rows": 3, "dir": "auto"}),
        help_text=gettext_lazy("In any case. What you had selected in the message is here."),
    )
    pattern = forms.ChoiceField(label=gettext_lazy("Or a pattern"), required=False)
    scope = forms.ChoiceField(label=gettext_lazy("Where"), widget=forms.RadioSelect)
    message = forms.UUIDField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, message: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        patterns = [(name, _(name)) for name in conf.STREAMING_CHAT_REDACTION_PATTERNS]
        of_message = [("message", _("In this message"))] if message else []
        self._offer("pattern", [("", "—"), *patterns])
        self._offer("scope", [*of_message, ("conversation", _("In the whole conversation"))])

    def _offer(self, name: str, choices: list[tuple[str, str]]) -> None:
        cast(forms.ChoiceField, self.fields[name]).choices = choices

    def clean(self) -> dict[str, Any]:
        """Require either a text or a pattern."""
        cleaned = super().clean() or {}
        if not self.errors and bool(cleaned["text"]) == bool(cleaned["pattern"]):
            raise ValidationError(_("Enter a text or choose a pattern, not both."))
        return cleaned

    def scope_in(self, conversation_id: uuid.UUID) -> Scope:
        """Return the scope, if the form is valid."""
        text, name = self.cleaned_data["text"], self.cleaned_data["pattern"]
        passages = Passages.with_text(text) if text else Passages.with_pattern(name)
        is_message = self.cleaned_data["scope"] == "message"
        return Scope(conversation_id, passages, self.cleaned_data["message"] if is_message else None)


def passages_form(request: HttpRequest, message: Message) -> PassagesForm:
    """Return the form for the page of one message, with what was selected in it."""
    selected = request.POST.get("text", "")[:_MAX_TEXT_CHARS]
    return PassagesForm(message=str(message.pk), initial={"text": selected, "scope": "message", "message": message.pk})


@retry_on_lock_timeout
def redact_passages_view(model_admin: Any, request: HttpRequest, conversation_id: uuid.UUID) -> HttpResponse:
    """Show the form, the preview, or redact and redirect to the transcript. Raises PermissionDenied, Http404."""
    permissions = ("streaming_chat.view_conversation", "streaming_chat.redact_transcript")
    if not (request.user.has_perms(permissions) and may_read(request)):
        raise PermissionDenied
    if not Conversation.objects.using(live_database()).filter(pk=conversation_id).exists():
        raise Http404
    message = request.POST.get("message", "")
    if not request.POST.keys() & {"preview", "confirmed"}:
        form = PassagesForm(message=message, initial={"scope": "conversation"})
        return _page(model_admin, request, conversation_id, form)
    form = PassagesForm(request.POST, message=message)
    if not form.is_valid():
        return _page(model_admin, request, conversation_id, form)
    try:
        return _find_or_redact(model_admin, request, form, form.scope_in(conversation_id))
    except Message.DoesNotExist:
        raise Http404 from None


def _find_or_redact(model_admin: Any, request: HttpRequest, form: PassagesForm, scope: Scope) -> HttpResponse:
    reason = storable(request.POST.get("reason", "")).strip()[:_MAX_REASON_CHARS]
    if "confirmed" in request.POST and reason:
        try:
            changed = redact_passages(scope, request.user, reason=reason, terms="terms" in request.POST)
        except StillLiveError:
            text = _("The reply is still being written. Stop it before you redact it.")
            messages.error(request, text)
        else:
            log_change(request, [scope.conversation], _("Redacted passages."))
            text = ngettext("Redacted in %(count)d message.", "Redacted in %(count)d messages.", changed)
            messages.success(request, text % {"count": changed})
        return HttpResponseRedirect(_transcript(model_admin, request, scope.conversation))
    # Before any text is shown, also that there is none.
    record(AccessRecord.Kind.OPEN, request.user, conversation=scope.conversation, message=scope.message)
    found = preview(scope, _MOST_SHOWN)
    is_missing = "confirmed" in request.POST
    return _page(model_admin, request, scope.conversation, form, found=found, is_reason_missing=is_missing)


def _page(
    model_admin: Any, request: HttpRequest, conversation_id: uuid.UUID, form: PassagesForm, **context: Any
) -> HttpResponse:
    context |= {
        "title": _("Redact passages"),
        "form": form,
        "conversation": Conversation(pk=conversation_id),
        "most": _MOST_SHOWN,
        "max_reason": _MAX_REASON_CHARS,
        "back": request.POST.get("back", ""),
        "list_filters": list_query(request).get("_changelist_filters", ""),
        "cancel": _transcript(model_admin, request, conversation_id),
    }
    return render_page(model_admin, request, "redact_passages", context)


def _transcript(model_admin: Any, request: HttpRequest, conversation_id: uuid.UUID) -> str:
    """Return the address of the transcript, at the message from which the form was opened."""
    message = PassagesForm.base_fields["message"]
    try:
        pk = message.clean(request.POST.get("message", ""))
    except ValidationError:
        pk = None
    return transcript_url(conversation_id, pk, site=model_admin.admin_site.name, **list_query(request))
