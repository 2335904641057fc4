"""The list of access records: which member of staff read what, and whose it was. Read-only; it can be exported."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponseBadRequest
from django.http.response import HttpResponseBase
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from streaming_chat.exports.access_records import export_access_records
from streaming_chat.exports.transcripts import FORMATS
from streaming_chat.models import AccessRecord
from streaming_chat.privacy import accessed_owners
from streaming_chat.privacy.audit import record
from streaming_chat.views.downloads import download

from .exports import may_export
from .form_filters import OwnerKeyFilter
from .lists import ListAdmin, may_read, query_on_record, record_list
from .pages import as_uuid, owner_keys, post_only, retry_on_lock_timeout, transcript_url

# The filters that leave the records of one owner, or of one conversation.
_OF_OWNER = (*OwnerKeyFilter.parameters, "conversation")
_MAX_READERS = 20


@admin.register(AccessRecord)
class AccessRecordAdmin(ListAdmin):
    """Access records, newest first. Search terms are text: only users who may read texts see them."""

    list_display = ("at", "named", "kind", "about", "owned_by", "count", "reason")
    list_filter = (OwnerKeyFilter, "kind", "at")
    list_per_page = 100
    ordering = ("-at", "-id")
    # Other lookups would reveal search terms letter by letter.
    allowed_lookups = frozenset({"kind__exact", "at__gte", "at__lt", *_OF_OWNER})
    search_help_text = _("The id of a conversation or message, an owner key, or the name of a member of staff.")

    @property
    def media(self) -> forms.Media:
        """The list's files, with those of the buttons that export."""
        return super().media + forms.Media(css={"all": ["streaming_chat/admin/exports.css"]})

    def get_urls(self) -> list[Any]:
        """Add the address of downloads before the others."""
        export = post_only(self, self.export_view)
        return [path("export/<str:form>/", export, name="streaming_chat_accessrecord_export"), *super().get_urls()]

    @retry_on_lock_timeout
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Show the list. It has an access record, since search terms are text."""
        query = request.GET.urlencode()
        response = super().changelist_view(
            request, {"list_query": f"?{query}" if query else "", **(extra_context or {})}
        )
        record_list(request, response)
        if any(map(request.GET.get, _OF_OWNER)) and (context := getattr(response, "context_data", None)):
            context["readers"] = _readers(context["cl"].queryset)
        return response

    @retry_on_lock_timeout
    def export_view(self, request: HttpRequest, form: str) -> HttpResponseBase:
        """Download all pages of the list; with the search terms, for users who may export texts."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if form not in FORMATS:
            raise Http404
        try:
            changelist: Any = self.get_changelist_instance(request)
        except IncorrectLookupParameters:
            return HttpResponseBadRequest()
        rows = changelist.queryset.order_by()
        terms = f"{request.path}?{query_on_record(request)}".removesuffix("?")
        saved = record(AccessRecord.Kind.EXPORT, request.user, terms=terms, count=rows.count())
        data = export_access_records(rows.filter(pk__lt=saved.pk), form, with_terms=may_export(request))
        made = FORMATS[form]
        name = f"access-records-{timezone.localtime():%Y-%m-%d-%H%M}.{made.suffix}"
        return download(request, data, name, made.content_type)

    def get_queryset(self, request: HttpRequest) -> QuerySet[AccessRecord]:
        """Do not load search terms for users who may not read texts."""
        records = super().get_queryset(request).defer("by")
        return records if may_read(request) else records.defer("by", "terms")

    def get_list_display(self, request: HttpRequest) -> Any:
        """Show search terms only to users who may read texts."""
        return [*self.list_display, "terms"] if may_read(request) else self.list_display

    def search(self, request: HttpRequest, queryset: QuerySet[AccessRecord], words: str) -> QuerySet[AccessRecord]:
        """Search by conversation, message, owner key or name."""
        if (pk := as_uuid(words)) is not None:
            return queryset.filter(Q(conversation=pk) | Q(message=pk))
        if keys := owner_keys(words):
            return queryset.filter(accessed_owners.about(keys))
        return queryset.filter(by_name=words)

    @admin.display(description=_("by"))
    def named(self, record: AccessRecord) -> SafeString:
        """The name that the user had then."""
        return format_html("<bdi>{}</bdi>", record.by_name or "–")

    @admin.display(description=_("about"))
    def about(self, record: AccessRecord) -> str | SafeString:
        """A link to what was read, which may be deleted since."""
        if record.conversation is None:
            return ""
        url = transcript_url(record.conversation, record.message)
        return format_html('<a href="{}">{}</a>', url, record.message or record.conversation)

    @admin.display(description=_("owner"))
    def owned_by(self, record: AccessRecord) -> str | SafeString:
        """Whose it was, with a link to all records of this owner. A list can be of several owners."""
        if not record.owner_key:
            return ""
        query = {"owner_key": record.owner_key}
        url = reverse("admin:streaming_chat_accessrecord_changelist", query=query, current_app=self.admin_site.name)
        return format_html('<a class="list-owner" href="{}"><bdi>{}</bdi></a>', url, record.owner_key)


def _readers(records: QuerySet[AccessRecord]) -> list[tuple[str, int]]:
    """Return the names in these records, and in how many each is, the most frequent first."""
    times = records.order_by().values_list("by_name").annotate(times=Count("pk"))
    return list(times.order_by("-times", "by_name")[:_MAX_READERS])
