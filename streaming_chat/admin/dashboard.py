"""The page of statistics: replies, endings, errors, times, tokens, cost and feedback by day and model, and calls by tool.

For users with `view_conversation`; it has no text. It saves and sends nothing.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.utils.formats import date_format, localize
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from streaming_chat.exceptions import ERRORS, error_text
from streaming_chat.protocol.tool_calls import RESULT_STATUSES
from streaming_chat.usage.reports import Report, Totals
from streaming_chat.usage.tools import ToolTotals

from .charts import Chart, Series, make_chart
from .formats import count, decimal, money, share, uncosted
from .pages import render_page

# Days. What each owner used is kept for as long as the longest of these (KEPT_OWNER_DAYS in usage/rollups.py).
_RANGES = (7, 28, 90)
_DEFAULT_RANGE = 28


def dashboard_view(model_admin: Any, request: HttpRequest) -> HttpResponse:
    """Show the statistics of a number of days and of a model; by default of 28 days and all models."""
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    days = days_of(request)
    model = request.GET.get("model", "")
    report = Report.of_last(days, model)
    context = {
        "title": _("Statistics"),
        "media": forms.Media(css={"all": ["streaming_chat/admin/numbers.css"]}),
        "ranges": range_choices(days),
        "days": days,
        "model": model,
        "models": report.models if model in {"", *report.models} else [model, *report.models],
        **_report_context(report),
    }
    return render_page(model_admin, request, "numbers", context)


def days_of(request: HttpRequest) -> int:
    """Return how many days a page of statistics is to show."""
    return next((days for days in _RANGES if str(days) == request.GET.get("days")), _DEFAULT_RANGE)


def range_choices(chosen: int) -> list[tuple[str, int, bool]]:
    """Return the label and number of days of each choice, and whether it is chosen."""
    return [(ngettext("{count} day", "{count} days", n).format(count=n), n, n == chosen) for n in _RANGES]


def _report_context(report: Report) -> dict[str, Any]:
    return {
        "missing": _missing(report),
        "report": report,
        "tiles": _tiles(report.total),
        "charts": _reply_charts(report) + _usage_charts(report),
        "errors": _errors(report),
        "by_model": [(name or _("unknown"), _row(totals)) for name, totals in report.by_model],
        "tools": [(tool.name or _("unknown tools"), _tool_row(tool)) for tool in report.tools],
    }


def _missing(report: Report) -> str:
    days = len(report.missing)
    text = ngettext(
        "{count} day has not been counted yet. Run {command} every night.",
        "{count} days have not been counted yet. Run {command} every night.",
        days,
    )
    return text.format(count=localize(days), command="manage.py rollup") if days else ""


def _tiles(total: Totals) -> list[tuple[str, str, str]]:
    """Return the label, value and note of each tile."""
    broken = total.interrupted + total.failed
    rated = total.good + total.bad
    return [
        (_("Replies"), count(total.replies), ""),
        (_("Completed"), share(total.completed, total.replies), ""),
        (_("Interrupted or failed"), share(broken, total.replies), count(broken)),
        (
            _("Time to first token"),
            _about(_seconds(total.first_event_median)),
            f"p95: {_about(_seconds(total.first_event_p95))}",
        ),
        (_("Tokens per second"), _about(_speed(total.speed_median)), f"p5: {_about(_speed(total.speed_p5))}"),
        (_("Cost"), money(total.cost), uncosted(total.uncosted)),
        (_("Cache hit rate"), _hit_rate(total), _written(total)),
        (_("Good feedback"), share(total.good, rated), _of_rated(rated)),
    ]


def _series(report: Report, name: str, label: str, attribute: str) -> Series:
    return Series(name, label, [getattr(totals, attribute) for totals in report.days.values()])


def _reply_charts(report: Report) -> list[Chart]:
    """Return the charts of how replies ended, and how fast they were."""
    days = _days(report)
    endings = [
        _series(report, "completed", _("Completed"), "completed"),
        _series(report, "stopped", _("Stopped"), "stopped"),
        _series(report, "interrupted", _("Interrupted"), "interrupted"),
        _series(report, "failed", _("Failed"), "failed"),
    ]
    if any(totals.others for totals in report.days.values()):
        endings.append(_series(report, "others", _("Being written"), "others"))
    waits = [
        _series(report, "median", _("Median"), "first_event_median"),
        _series(report, "extreme", "p95", "first_event_p95"),
    ]
    speeds = [
        _series(report, "median", _("Median"), "speed_median"),
        _series(report, "extreme", "p5", "speed_p5"),
    ]
    return [
        make_chart("endings", _("Replies and how they ended"), days, endings, count, least=2),
        make_chart("waits", _("Time to first token"), days, waits, _seconds, lines=True, note=_("Approximate.")),
        make_chart(
            "speeds",
            _("Tokens per second"),
            days,
            speeds,
            _speed,
            lines=True,
            note=_("Approximate. After the first token."),
        ),
    ]


def _usage_charts(report: Report) -> list[Chart]:
    """Return the charts of cost, tokens and feedback."""
    days = _days(report)
    costs = [totals.cost for totals in report.days.values()]
    cost = Series("cost", _("Cost"), [None if c is None else float(c) for c in costs], [money(c) for c in costs])
    tokens = [
        _series(report, "input", _("Input tokens"), "input_tokens"),
        _series(report, "output", _("Output tokens"), "output_tokens"),
    ]
    feedback = [_series(report, "good", _("Good"), "good"), _series(report, "bad", _("Bad"), "bad")]
    return [
        make_chart("costs", _("Cost"), days, [cost], money, note=uncosted(report.total.uncosted)),
        make_chart("tokens", _("Tokens"), days, tokens, count, least=2),
        make_chart("feedback", _("Feedback"), days, feedback, count, least=2, note=_("By the day of the reply.")),
    ]


def _errors(report: Report) -> list[tuple[str, str, str, str, str, str]]:
    """Return code, text, provider, count, share of all replies, and the length of a bar in percent of the longest."""
    most = max((replies for _code, _provider, replies in report.errors), default=1)
    return [
        (
            code,
            error_text(code) if code in ERRORS else "",
            provider,
            count(replies),
            share(replies, report.total.replies),
            f"{replies / most * 100:.1f}%",
        )
        for code, provider, replies in report.errors
    ]


def _row(totals: Totals) -> list[str]:
    return [
        count(totals.replies),
        share(totals.completed, totals.replies),
        share(totals.interrupted + totals.failed, totals.replies),
        _seconds(totals.first_event_median),
        _seconds(totals.first_event_p95),
        _speed(totals.speed_median),
        count(totals.input_tokens),
        _hit_rate(totals),
        count(totals.output_tokens),
        money(totals.cost),
        count(totals.uncosted),
        f"{count(totals.good)} / {count(totals.bad)}",
    ]


def _tool_row(tool: ToolTotals) -> list[str]:
    """Return the calls of a tool, what became of them, and how long they took."""
    ended = [count(tool.statuses[status]) for status in RESULT_STATUSES]
    return [count(tool.calls), *ended, _seconds(tool.median), _seconds(tool.p95)]


def _days(report: Report) -> list[str]:
    return [str(date_format(day, "MONTH_DAY_FORMAT")) for day in report.days]


def _seconds(milliseconds: float | None) -> str:
    if milliseconds is None:
        return "–"
    return _("{seconds} s").format(seconds=decimal(milliseconds / 1000, 2))


def _speed(tokens: float | None) -> str:
    return "–" if tokens is None else decimal(tokens, 1 if 0 < tokens < 10 else 0)


def _about(text: str) -> str:
    """Return a median or percentile in words: they are interpolated in a histogram, and accurate to a few percent."""
    return text if text == "–" else _("about {value}").format(value=text)


def _hit_rate(totals: Totals) -> str:
    """Return the share of the input that came from the providers' caches."""
    return share(totals.cached_input_tokens, totals.input_tokens)


def _written(totals: Totals) -> str:
    tokens = totals.cache_write_tokens
    return _("{count} tokens written").format(count=count(tokens)) if tokens else ""


def _of_rated(replies: int) -> str:
    return ngettext("of {count} rated", "of {count} rated", replies).format(count=count(replies))
