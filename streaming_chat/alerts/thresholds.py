"""Finds providers whose error rate is above the threshold, and spending above the daily budgets.

All of it is read from the replies in the database, so every process finds the same. A day is one of UTC, as in usage/.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Count, Q, Sum
from django.db.models.functions import Now
from django.utils import timezone

from streaming_chat.conf import conf
from streaming_chat.db.alias import live_database
from streaming_chat.models import Alert, Message, ModelTitle, Status

from .outbox import put

# The replies that began in so many minutes are looked at, if there are so many.
_MINUTES = 10
_LEAST_REPLIES = 10
# Named, so that the index on status and time is used.
_ENDED = [status for status in Status.values if status != Status.STREAMING]


def are_set() -> bool:
    """Return whether a threshold or a budget is set."""
    thresholds = (conf.STREAMING_CHAT_ALERT_ERROR_PERCENT, conf.STREAMING_CHAT_ALERT_DAILY_BUDGET)
    return any(value is not None for value in (*thresholds, conf.STREAMING_CHAT_ALERT_DAILY_USER_BUDGET))


def check() -> None:
    """Raise the alerts for what is above its threshold. Blocking, up to four queries."""
    if conf.STREAMING_CHAT_ALERT_ERROR_PERCENT is not None:
        _check_error_rates(conf.STREAMING_CHAT_ALERT_ERROR_PERCENT)
    if conf.STREAMING_CHAT_ALERT_DAILY_BUDGET is not None:
        _check_site_budget(_decimal(conf.STREAMING_CHAT_ALERT_DAILY_BUDGET))
    if conf.STREAMING_CHAT_ALERT_DAILY_USER_BUDGET is not None:
        _check_user_budgets(_decimal(conf.STREAMING_CHAT_ALERT_DAILY_USER_BUDGET))


def _check_error_rates(threshold: float) -> None:
    """At most one alert an hour for each provider."""
    since = Now() - timedelta(minutes=_MINUTES)
    recent = _replies().filter(created_at__gte=since).exclude(provider="")
    failed = Count("pk", filter=Q(error_code__startswith="provider_"))
    hour = timezone.now().astimezone(UTC).strftime("%Y-%m-%dT%H")
    for row in recent.order_by().values("provider").annotate(replies=Count("pk"), errors=failed):
        percent = 100 * row["errors"] / row["replies"]
        if row["replies"] >= _LEAST_REPLIES and percent > threshold:
            data = {"provider": row["provider"], "percent": round(percent, 1), "minutes": _MINUTES}
            _put(Alert.Kind.ERROR_RATE, f"error_rate:{row['provider']}:{hour}", {**data, "replies": row["replies"]})


def _check_site_budget(budget: Decimal) -> None:
    """The costs of replies and of titles by a model."""
    titles = ModelTitle.objects.using(live_database()).filter(created_at__gte=_midnight())
    spent = sum((rows.aggregate(spent=Sum("cost"))["spent"] or Decimal(0) for rows in (_today(), titles)), Decimal(0))
    if spent > budget:
        _put(Alert.Kind.SITE_BUDGET, f"site_budget:{_day()}", _money(spent, budget))


def _check_user_budgets(budget: Decimal) -> None:
    owned = _today().exclude(conversation__owner_key="").order_by().values("conversation__owner_key")
    for row in owned.annotate(spent=Sum("cost")).filter(spent__gt=budget):
        owner = row["conversation__owner_key"]
        data = {"owner": owner, **_money(row["spent"], budget)}
        _put(Alert.Kind.USER_BUDGET, f"user_budget:{_day()}:{owner}", data, owner_key=owner)


def _put(kind: str, key: str, data: dict[str, Any], **about: str) -> None:
    # Most checks find what an earlier one has found.
    if not Alert.objects.using(live_database()).filter(key=key).exists():
        put(kind, key, data, **about)


def _replies() -> Any:
    return Message.objects.using(live_database()).filter(status__in=_ENDED)


def _today() -> Any:
    return _replies().filter(created_at__gte=_midnight())


def _day() -> str:
    return timezone.now().astimezone(UTC).date().isoformat()


def _midnight() -> datetime:
    return datetime.combine(timezone.now().astimezone(UTC).date(), time.min, UTC)


def _money(spent: Decimal, budget: Decimal) -> dict[str, str]:
    return {"day": _day(), "spent": f"{spent:.2f}", "budget": f"{budget:f}"}


def _decimal(value: float) -> Decimal:
    return Decimal(str(value))
