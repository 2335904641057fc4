"""Checks the settings of alerts: an alert that cannot be sent is noticed only when it is missing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004  (Django's own name)
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from streaming_chat.alerts.webhook import is_address, key_of
from streaming_chat.conf import SETTINGS, conf

from .tag import TAG


@register(TAG)
def check_alerts(**kwargs: Any) -> list[CheckMessage]:
    """Find channels that cannot work (E014), and labels that nobody can give (W013)."""
    names = [name for name, setting in SETTINGS.items() if setting.section == "Alerts"]
    if not all(SETTINGS[name].kind.accepts(getattr(conf, name)) for name in names):
        # check_values reports them.
        return []
    return [*_check_webhook(), *_check_emails(), *_check_labels()]


def _check_webhook() -> Iterator[CheckMessage]:
    url = conf.STREAMING_CHAT_ALERT_WEBHOOK_URL
    if not url:
        return
    if not is_address(url):
        yield _error(
            "STREAMING_CHAT_ALERT_WEBHOOK_URL must be an http or https address without a user name.",
            "The signature says who sends; a receiver needs no password.",
        )
    try:
        key_of(conf.STREAMING_CHAT_ALERT_WEBHOOK_SECRET)
    except ValueError:
        yield _error(
            "STREAMING_CHAT_ALERT_WEBHOOK_SECRET must be whsec_ and 24 to 64 bytes in base64.",
            "`manage.py testalert --new-secret` prints one. The receiver needs the same.",
        )


def _check_emails() -> Iterator[CheckMessage]:
    wrong = [address for address in conf.STREAMING_CHAT_ALERT_EMAILS if not _is_email(address)]
    if wrong:
        yield _error(
            f"STREAMING_CHAT_ALERT_EMAILS has what is no email address: {wrong!r:.60}.", "Correct or remove it."
        )


def _is_email(address: str) -> bool:
    try:
        validate_email(address)
    except ValidationError:
        return False
    return True


def _check_labels() -> Iterator[CheckMessage]:
    unknown = sorted(set(conf.STREAMING_CHAT_ALERT_LABELS) - set(conf.STREAMING_CHAT_REVIEW_LABELS))
    if unknown:
        yield Warning(
            f"STREAMING_CHAT_ALERT_LABELS has labels that reviewers cannot give: {unknown!r:.60}.",
            hint="Add them to STREAMING_CHAT_REVIEW_LABELS, or remove them.",
            id=f"{TAG}.W013",
        )


def _error(message: str, hint: str) -> CheckMessage:
    return Error(message, hint=hint, id=f"{TAG}.E014")
