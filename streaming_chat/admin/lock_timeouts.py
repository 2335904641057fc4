"""What staff are answered while somebody else holds what they would change: the same form again, with all that they typed.

On PostgreSQL a row is waited for as long as `write_transaction` says, on SQLite the database as long as its `timeout`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar, cast

from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _

from streaming_chat.db.errors import is_busy
from streaming_chat.review.reviews import MAX_NOTES_CHARS

_SECONDS = 2
View = TypeVar("View", bound=Callable[..., Any])


def patient(view: View) -> View:
    """Let a view of (model_admin, request, …) answer so, where it would fail. To do twice what it does must do no harm."""

    @wraps(view)
    def answer(model_admin: Any, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return view(model_admin, request, *args, **kwargs)
        except OperationalError as error:
            if not is_busy(error):
                raise
            return busy(model_admin, request)

    return cast(View, answer)


def busy(
    model_admin: Any, request: HttpRequest, *, url: str = "", form: Sequence[tuple[str, str]] | None = None
) -> HttpResponse:
    """Answer with a page that tries again; nothing that is saved is read for it.

    url, form: where it goes, and with what; by default what came. 409 for a form: a proxy may put a page of its own in the
    place of a 503, and with it goes what was typed.
    """
    if form is None:
        form = [(name, value) for name in request.POST for value in request.POST.getlist(name)]
    typed = dict(form)
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "title": _("Somebody else is saving just now"),
        "url": url or request.get_full_path(),
        "is_form": request.method == "POST",
        "hidden": [pair for pair in form if pair[0] not in ("csrfmiddlewaretoken", "notes")],
        "notes": typed.get("notes"),
        "max_notes": MAX_NOTES_CHARS,
        "back": reverse(f"{model_admin.admin_site.name}:streaming_chat_conversation_changelist"),
    }
    request.current_app = model_admin.admin_site.name
    template = "admin/streaming_chat/conversation/busy.html"
    if request.method == "POST":
        return TemplateResponse(request, template, context, status=409)
    return TemplateResponse(request, template, context, status=503, headers={"Retry-After": str(_SECONDS)})
