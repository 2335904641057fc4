"""The page of review statistics: finished reviews, verdicts, labels, and agreement between reviewers. For reviewers only."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.utils.formats import date_format
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from streaming_chat.models import Verdict
from streaming_chat.review.reports import MAX_COMPARED, Agreement, ReviewReport, Totals

from .charts import Chart, Series, make_chart
from .dashboard import days_of, range_choices
from .formats import count, share
from .pages import render_page
from .review_bar import may_review

# Rows of a table.
_MAX_ROWS = 100


def review_numbers_view(model_admin: Any, request: HttpRequest) -> HttpResponse:
    """Show the review statistics of a number of days; by default of 28."""
    if not may_review(request):
        raise PermissionDenied
    days = days_of(request)
    report = ReviewReport.of_last(days)
    context = {
        "title": _("Review statistics"),
        "media": forms.Media(css={"all": ["streaming_chat/admin/numbers.css"]}),
        "ranges": range_choices(days),
        "tiles": _tiles(report),
        "charts": _charts(report),
        "values": [label for _value, label in Verdict.Value.choices],
        "reviewers": _reviewers(report),
        "labels": [
            (label, count(number), share(number, _labelled(report))) for label, number in _first(report.by_label)
        ],
        "agreements": _agreements(report),
        "most": count(MAX_COMPARED) if report.is_cut else "",
    }
    return render_page(model_admin, request, "review_numbers", context)


def _tiles(report: ReviewReport) -> list[tuple[str, str, str]]:
    """Return the label, value and note of each tile."""
    total, agreement = report.total, report.agreement
    pairs = ngettext("{count} comparison", "{count} comparisons", agreement.pairs)
    return [
        (_("Finished reviews"), count(total.reviews), ""),
        (_("Verdicts"), count(total.judged), ""),
        *(
            (capfirst(str(value.label)), share(total.verdicts[value], total.judged), count(total.verdicts[value]))
            for value in Verdict.Value
        ),
        (_("Agreement"), share(agreement.agreed, agreement.pairs), pairs.format(count=count(agreement.pairs))),
    ]


def _charts(report: ReviewReport) -> list[Chart]:
    days = [str(date_format(day, "MONTH_DAY_FORMAT")) for day in report.days]
    reviews = Series("done", _("Finished reviews"), [totals.reviews for totals in report.days.values()])
    verdicts = [
        Series(value.value, str(value.label), [totals.verdicts[value] for totals in report.days.values()])
        for value in Verdict.Value
    ]
    return [
        make_chart("reviews", _("Finished reviews"), days, [reviews], count, least=2),
        make_chart("verdicts", _("Verdicts"), days, verdicts, count, least=2),
    ]


def _reviewers(report: ReviewReport) -> list[tuple[str, list[str]]]:
    by_count = sorted(report.by_reviewer.items(), key=lambda item: (-item[1].reviews, -item[1].judged, item[0]))
    return [(name or "?", _row(totals)) for name, totals in _first(by_count)]


def _row(totals: Totals) -> list[str]:
    return [count(totals.reviews), count(totals.judged), *(count(totals.verdicts[value]) for value in Verdict.Value)]


def _labelled(report: ReviewReport) -> int:
    return sum(number for _label, number in report.by_label)


def _agreements(report: ReviewReport) -> list[tuple[str, str, str, str]]:
    """Return two reviewers, what both judged, and the share with one verdict; those with most in common first."""

    def order(item: tuple[tuple[str, str], Agreement]) -> Any:
        return -item[1].pairs, item[0]

    by_count = sorted(report.agreements.items(), key=order)
    return [
        (one, other, count(agreement.pairs), share(agreement.agreed, agreement.pairs))
        for (one, other), agreement in _first(by_count)
    ]


def _first(rows: list[Any]) -> list[Any]:
    return rows[:_MAX_ROWS]
