"""The numbers of a site's chats as a page: replies, endings, errors, times, tokens, cost and feedback by day and model.

For who has `view_conversation`: it holds no text. Nothing on it is saved, sent or fetched.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.formats import date_format, localize
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from streaming_chat.exceptions import ERRORS, error_text
from streaming_chat.usage.reports import Numbers, Report

from .charts import Chart, Series, chart
from .formats import decimal, money

RANGES = (7, 28, 90)
_DEFAULT_RANGE = 28


def view(request: HttpRequest, model_admin: Any) -> HttpResponse:
    """Answer with the numbers of the range and model that are asked for; of 28 days and all models by default."""
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    days = next((days for days in RANGES if str(days) == request.GET.get("days")), _DEFAULT_RANGE)
    model = request.GET.get("model", "")
    report = Report.over(days, model)
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "title": _("Numbers"),
        "media": forms.Media(css={"all": ["streaming_chat/admin/numbers.css"]}),
        "ranges": [
            (ngettext("{count} day", "{count} days", choice).format(count=choice), choice, choice == days)
            for choice in RANGES
        ],
        "days": days,
        "model": model,
        "models": report.models if model in {"", *report.models} else [model, *report.models],
        "missing": _missing(report),
        "report": report,
        "tiles": _tiles(report.total),
        "charts": _charts(report),
        "errors": _errors(report),
        "by_model": [(name or _("unknown"), _row(numbers)) for name, numbers in report.by_model],
    }
    request.current_app = model_admin.admin_site.name
    return TemplateResponse(request, "admin/streaming_chat/conversation/numbers.html", context)


def _missing(report: Report) -> str:
    count = len(report.missing)
    words = ngettext(
        "{count} day of these has not been counted: {command} does that, best each night.",
        "{count} days of these have not been counted: {command} does that, best each night.",
        count,
    )
    return words.format(count=localize(count), command="manage.py rollup") if count else ""


def _tiles(total: Numbers) -> list[tuple[str, str, str]]:
    """Return what matters most: label, value, and what to make of it."""
    broken = total.interrupted + total.failed
    judged = total.good + total.bad
    return [
        (_("Replies"), _count(total.replies), ""),
        (_("Completed"), _share(total.completed, total.replies), ""),
        (_("Broken or failed"), _share(broken, total.replies), _count(broken)),
        (_("Time to first token"), _seconds(total.first_event_median), _p95(_seconds(total.first_event_p95))),
        (_("Tokens per second"), _speed(total.speed_median), _p95(_speed(total.speed_p5))),
        (_("Cost"), money(total.cost), _uncosted(total)),
        (_("Good feedback"), _share(total.good, judged), _of_judged(judged)),
    ]


def _charts(report: Report) -> list[Chart]:
    days = [_day(day) for day in report.days]
    numbers = list(report.days.values())

    def series(name: str, label: str, attribute: str) -> Series:
        return Series(name, label, [getattr(one, attribute) for one in numbers])

    costs = Series(
        "cost",
        _("Cost"),
        [None if one.cost is None else float(one.cost) for one in numbers],
        [money(one.cost) for one in numbers],
    )
    endings = [
        series("completed", _("Completed"), "completed"),
        series("stopped", _("Stopped"), "stopped"),
        series("interrupted", _("Interrupted"), "interrupted"),
        series("failed", _("Failed"), "failed"),
    ]
    if any(one.others for one in numbers):
        endings.append(series("others", _("Being written"), "others"))
    waits = [
        series("median", _("Median"), "first_event_median"),
        series("extreme", _("19 of 20 are faster"), "first_event_p95"),
    ]
    speeds = [
        series("median", _("Median"), "speed_median"),
        series("extreme", _("19 of 20 are faster"), "speed_p5"),
    ]
    tokens = [
        series("input", _("Input tokens"), "input_tokens"),
        series("output", _("Output tokens"), "output_tokens"),
    ]
    feedback = [series("good", _("Good"), "good"), series("bad", _("Bad"), "bad")]
    return [
        chart("endings", _("Replies and how they ended"), days, endings, _count, least=2),
        chart("waits", _("Time to first token"), days, waits, _seconds, lines=True),
        chart("speeds", _("Tokens per second"), days, speeds, _speed, lines=True, note=_("After the first token.")),
        chart("costs", _("Cost"), days, [costs], money, note=_uncosted(report.total)),
        chart("tokens", _("Tokens"), days, tokens, _count, least=2),
        chart("feedback", _("Feedback"), days, feedback, _count, least=2, note=_("By the day of the reply.")),
    ]


def _errors(report: Report) -> list[tuple[str, str, str, str, str, str]]:
    """Return code, words, provider, count, share of all replies, and the length of a bar in percent of the longest."""
    most = max((count for _code, _provider, count in report.errors), default=1)
    return [
        (
            code,
            error_text(code) if code in ERRORS else "",
            provider,
            _count(count),
            _share(count, report.total.replies),
            f"{count / most * 100:.1f}%",
        )
        for code, provider, count in report.errors
    ]


def _row(numbers: Numbers) -> list[str]:
    return [
        _count(numbers.replies),
        _share(numbers.completed, numbers.replies),
        _share(numbers.interrupted + numbers.failed, numbers.replies),
        _seconds(numbers.first_event_median),
        _seconds(numbers.first_event_p95),
        _speed(numbers.speed_median),
        _count(numbers.input_tokens),
        _count(numbers.output_tokens),
        money(numbers.cost),
        _count(numbers.uncosted),
        f"{_count(numbers.good)} / {_count(numbers.bad)}",
    ]


def _day(day: date) -> str:
    return str(date_format(day, "MONTH_DAY_FORMAT"))


def _count(value: float) -> str:
    return decimal(value, 0)


def _share(part: int, whole: int) -> str:
    if not whole:
        return "–"
    return _("{percent} %").format(percent=decimal(100 * part / whole, 1))


def _seconds(milliseconds: float | None) -> str:
    if milliseconds is None:
        return "–"
    return _("{seconds} s").format(seconds=decimal(milliseconds / 1000, 2))


def _speed(tokens: float | None) -> str:
    return "–" if tokens is None else decimal(tokens, 1 if 0 < tokens < 10 else 0)


def _p95(value: str) -> str:
    return _("19 of 20: {value}").format(value=value)


def _uncosted(numbers: Numbers) -> str:
    count = numbers.uncosted
    words = ngettext("{count} reply has no known cost.", "{count} replies have no known cost.", count)
    return words.format(count=_count(count)) if count else ""


def _of_judged(count: int) -> str:
    return ngettext("of {count} judged", "of {count} judged", count).format(count=_count(count))
