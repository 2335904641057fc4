"""The form that creates an access token, of the chat's page and of the admin."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django import forms
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from streaming_chat.accounts.access_tokens import MAX_TOKENS, has_room
from streaming_chat.models import AccessToken

if TYPE_CHECKING:
    ModelForm = forms.ModelForm[AccessToken]
else:
    ModelForm = forms.ModelForm

# A choice needs no script to pick a date.
_DAYS = [("30", _("after 30 days")), ("90", _("after 90 days")), ("365", _("after a year")), ("", _("never"))]


class TokenForm(ModelForm):
    """owner: whose token it is, set before the form is validated."""

    owner: Any = None
    days = forms.ChoiceField(label=_("Expires"), choices=_DAYS, initial="90", required=False)

    class Meta:
        model = AccessToken
        fields = ("name", "scope")

    def clean(self) -> dict[str, Any] | None:
        """Refuse one token too many."""
        if not has_room(self.owner):
            message = _("You have %(count)d access tokens. Revoke one that you do not use any more.")
            raise forms.ValidationError(message, params={"count": MAX_TOKENS})
        return super().clean()

    def save(self, commit: bool = True) -> AccessToken:
        """Return the row, with its owner and its expiry. It is saved by `create_token`."""
        row = super().save(commit=False)
        row.owner = self.owner
        if days := self.cleaned_data["days"]:
            row.expires_at = timezone.now() + timedelta(days=int(days))
        return row
