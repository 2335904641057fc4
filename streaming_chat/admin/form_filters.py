"""Filters of the lists that have fields in place of choices: dates, the metadata of conversations, an owner key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.views.main import PAGE_VAR
from django.db.models import QuerySet
from django.db.models.lookups import Exact
from django.http import HttpRequest
from django.middleware.csrf import get_token
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from streaming_chat.db.json_text import MAX_CHARS, JSONText
from streaming_chat.db.uuid7 import first_of
from streaming_chat.models import METADATA_KEYS, Conversation, Feedback, Message
from streaming_chat.privacy import accessed_owners
from streaming_chat.protocol.storable_text import storable

from .kept_searches import METADATA_VAR, words_of
from .lists import may_read
from .pages import owner_keys

# A day further away has no time in every time zone, or no UUIDv7.
_FIRST_DAY, _LAST_DAY = date(1971, 1, 1), date(9998, 12, 31)


@dataclass(frozen=True)
class DateRange:
    """A range of days in the current time zone, as typed. start, end: None for no limit; `end` is no longer in it."""

    start: datetime | None = None
    end: datetime | None = None
    is_valid: bool = True

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> DateRange:
        """Return the range of an address: `from` and `until`, which is the last day of the range."""
        try:
            start, last = (_parse_day(parameters.get(name, "")) for name in DateRangeFilter.parameters)
        except ValueError:
            return cls(is_valid=False)
        end = last and last + timedelta(days=1)
        return cls(_start_of(start) if start else None, _start_of(end) if end else None)


def _parse_day(text: str) -> date | None:
    """Return a day, or None for "". Raises ValueError."""
    day = date.fromisoformat(text) if text else None
    if day and not _FIRST_DAY <= day <= _LAST_DAY:
        raise ValueError(f"must be a day from {_FIRST_DAY} to {_LAST_DAY}, got {day}.")
    return day


def _start_of(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))


class _FormFilter(admin.ListFilter):
    """A filter with a form. parameters: of the list's address."""

    parameters: ClassVar[tuple[str, ...]]

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        self._request = request
        self._values = {name: params.pop(name)[-1] for name in self.parameters if name in params}

    def expected_parameters(self) -> list[str | None]:
        """Return the parameters of the list's address."""
        return [*self.parameters]

    def has_output(self) -> bool:
        """Show the form always, since it needs no rows."""
        return True

    def _others(self) -> list[tuple[str, str]]:
        """Return the parameters of the list's address that the form keeps."""
        query = self._request.GET
        left_out = {*self.parameters, PAGE_VAR}
        return [(name, value) for name in query if name not in left_out for value in query.getlist(name)]


class DateRangeFilter(_FormFilter):
    """When a conversation was last active, or a message was created or rated. Nothing is found by what is not a date."""

    title = _("date range")
    template = "admin/streaming_chat/date_filter.html"
    parameters = ("from", "until")
    # The id of a message begins with its time.
    _COLUMNS: ClassVar[dict[Any, str]] = {Conversation: "last_activity", Message: "pk", Feedback: "updated_at"}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of the range, from an index of the time or of the id, which begins with the time."""
        days = DateRange.of(self._values)
        if not days.is_valid:
            return queryset.none()
        is_by_id = queryset.model is Message
        column = self._COLUMNS[queryset.model]
        for lookup, moment in (("gte", days.start), ("lt", days.end)):
            if moment:
                value = first_of(moment.timestamp()) if is_by_id else moment
                queryset = queryset.filter(**{f"{column}__{lookup}": value})
        return queryset

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Return the form's contents."""
        yield {
            "others": self._others(),
            "from": self._values.get("from", ""),
            "until": self._values.get("until", ""),
            "is_valid": DateRange.of(self._values).is_valid,
            "first": _FIRST_DAY.isoformat(),
            "last": _LAST_DAY.isoformat(),
            "clear": changelist.get_query_string(remove=[*self.parameters]) if any(self._values.values()) else "",
        }


class MetadataFilter(_FormFilter):
    """The page or the version in a conversation's metadata, which are text: for users who may read.

    The value is sent with POST and kept like the words of a search. Nobody else finds anything by it, nor sees the form.
    """

    title = _("metadata")
    template = "admin/streaming_chat/metadata_filter.html"
    parameters = (METADATA_VAR,)

    def has_output(self) -> bool:
        """Show the form to users who may read."""
        return may_read(self._request)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the conversations with this value; none if the session does not have it."""
        if not may_read(request) or not (kept := self._values.get(METADATA_VAR)):
            return queryset
        key, _separator, value = (words_of(request, kept) or "").partition("=")
        if key not in METADATA_KEYS:
            return queryset.none()
        return queryset.filter(Exact(JSONText("metadata", key=key), value))

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Return the form's contents."""
        kept = self._values.get(METADATA_VAR, "")
        words = words_of(self._request, kept)
        key, _separator, value = (words or "").partition("=")
        others = changelist.get_query_string(remove=[*self.parameters, PAGE_VAR])
        find = reverse("admin:streaming_chat_conversation_find", current_app=changelist.model_admin.admin_site.name)
        yield {
            "action": f"{find}{others}",
            "csrf_token": get_token(self._request),
            "keys": METADATA_KEYS,
            "key": key,
            "value": value,
            "max_chars": MAX_CHARS,
            "is_gone": words is None,
            "clear": others if kept else "",
        }


class OwnerKeyFilter(_FormFilter):
    """Whose texts an access record is about."""

    title = _("owner")
    template = "admin/streaming_chat/owner_key_filter.html"
    parameters = ("owner_key",)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the records about this owner; none for what is no owner key."""
        typed = self._values.get("owner_key", "").strip()
        if not typed:
            return queryset
        keys = owner_keys(storable(typed))
        return queryset.filter(accessed_owners.about(keys)) if keys else queryset.none()

    def choices(self, changelist: Any) -> Iterator[Any]:
        """Return the form's contents."""
        typed = self._values.get("owner_key", "")
        clear = changelist.get_query_string(remove=[*self.parameters]) if typed else ""
        yield {"others": self._others(), "owner_key": typed, "clear": clear}
