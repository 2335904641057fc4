"""Sends an alert as an email to STREAMING_CHAT_ALERT_EMAILS, through the site's email settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.utils import translation
from django.utils.translation import gettext as _

from streaming_chat.conf import conf
from streaming_chat.models import Alert

# Where EMAIL_TIMEOUT is not set, a mail server that does not answer would hold up all alerts.
_TIMEOUT_SECONDS = 15


def send(alert: Alert) -> None:
    """Send an alert, in the site's language. Blocking. Raises what the site's email backend raises."""
    with translation.override(settings.LANGUAGE_CODE):
        subject = _("Chat alert: %(what)s") % {"what": alert.get_kind_display()}
        body = f"{sentence_of(alert)}\n\n{_details(alert)}\n"
    timeout = getattr(settings, "EMAIL_TIMEOUT", None) or _TIMEOUT_SECONDS
    connection = get_connection(timeout=timeout)
    EmailMessage(subject, body, to=list(conf.STREAMING_CHAT_ALERT_EMAILS), connection=connection).send()


def sentence_of(alert: Alert) -> str:
    """Return what happened, as a sentence in the current language."""
    sentences = {
        Alert.Kind.ERROR_RATE: _(
            "%(percent)s%% of the replies of the provider “%(provider)s” in the last %(minutes)s minutes have failed."
        ),
        Alert.Kind.SITE_BUDGET: _("The site has spent $%(spent)s today. Its daily budget is $%(budget)s."),
        Alert.Kind.USER_BUDGET: _("The owner %(owner)s has spent $%(spent)s today. The daily budget is $%(budget)s."),
        Alert.Kind.LABEL: _("A reviewer has given the label “%(label)s”."),
        Alert.Kind.FEEDBACK: _("A reply was rated bad."),
        Alert.Kind.TEST: _("This is a test."),
    }
    return sentences[Alert.Kind(alert.kind)] % alert.data


def _details(alert: Alert) -> str:
    data: Mapping[str, Any] = {"alert": alert.pk, **alert.data}
    return "\n".join(f"{name}: {value}" for name, value in data.items())
