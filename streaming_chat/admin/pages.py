"""What the app's own pages in the admin share: context, addresses, POST only, and the retry after a lock timeout.

On PostgreSQL a write waits for each lock as long as `write_transaction` says; on SQLite as long as the database's `timeout`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar, cast

from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from streaming_chat.db.errors import is_busy
from streaming_chat.models import Conversation
from streaming_chat.review.reviews import MAX_NOTES_CHARS

from .formats import owner_name

# Names that URL patterns use for the id of a conversation.
_CONVERSATION_NAMES = ("object_id", "conversation_id", "pk")
_RETRY_SECONDS = 2
View = TypeVar("View", bound=Callable[..., Any])


def render_page(
    model_admin: Any, request: HttpRequest, name: str, context: dict[str, Any], **options: Any
) -> TemplateResponse:
    """Return a page of the app. name: of its template. options: of the response."""
    site = model_admin.admin_site
    request.current_app = site.name
    full_context = {**site.each_context(request), "opts": model_admin.opts, **context}
    return TemplateResponse(request, f"admin/streaming_chat/conversation/{name}.html", full_context, **options)


def transcript_url(conversation: Any, message: Any = None, *, site: str | None = None, **query: str) -> str:
    """Return the address of a transcript, at this message if there is one. site: name of the admin site."""
    parameters = {**query, "message": message} if message else query
    url = reverse("admin:streaming_chat_conversation_change", args=[conversation], query=parameters, current_app=site)
    return f"{url}#m-{message}" if message else url


def owner_url(owner_key: str, *, site: str | None = None) -> str:
    """Return the address of an owner's page. site: name of the admin site."""
    return reverse("admin:streaming_chat_conversation_owner", args=[owner_key], current_app=site)


def owner_link(conversation: Conversation, site: str | None = None) -> str | SafeString:
    """Return the name of a conversation's owner, as a link to the owner's page; without one for an erased owner."""
    name = owner_name(conversation)
    if not conversation.owner_key:
        return name
    return format_html('<a href="{}"><bdi>{}</bdi></a>', owner_url(conversation.owner_key, site=site), name)


def as_uuid(text: str) -> uuid.UUID | None:
    """Return a text as a UUID; None if it is not one."""
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def owner_keys(text: str) -> list[str]:
    """Return the owner keys that a text can mean in whichever case it was typed; [] for other texts."""
    key = text[:2].lower() + text[2:]
    return sorted({key, key.lower()}) if key.startswith(("u:", "v:")) else []


def uuid_or_404(text: str) -> uuid.UUID:
    """Return a text as a UUID. Raises Http404."""
    if (pk := as_uuid(text)) is None:
        raise Http404
    return pk


def post_only(model_admin: Any, view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Return a view of the admin that takes POST. A GET redirects to the transcript, or to the list.

    The GET comes from the login page, if a user pressed a button after their session had ended.
    """

    @wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method == "POST":
            return view(request, *args, **kwargs)
        return HttpResponseRedirect(_url_of(kwargs, model_admin))

    # Without it, an error mail shows the notes and the words that a form has sent.
    return sensitive_post_parameters()(
        require_http_methods(["GET", "POST"])(model_admin.admin_site.admin_view(wrapper))
    )


def _url_of(kwargs: dict[str, Any], model_admin: Any) -> str:
    """Return the transcript that the arguments of a URL name, or the list."""
    site = model_admin.admin_site.name
    conversation = next((kwargs[name] for name in _CONVERSATION_NAMES if name in kwargs), None)
    if conversation is None:
        return reverse(f"admin:streaming_chat_{model_admin.opts.model_name}_changelist", current_app=site)
    return transcript_url(conversation, kwargs.get("message_id"), site=site)


def retry_on_lock_timeout(view: View) -> View:
    """Decorator of a view (model_admin, request, …): on a lock timeout, show a page that retries the request.

    The view must be idempotent.
    """

    @wraps(view)
    def wrapper(model_admin: Any, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return view(model_admin, request, *args, **kwargs)
        except OperationalError as error:
            if not is_busy(error):
                raise
            return lock_timeout_page(model_admin, request)

    return cast(View, wrapper)


def lock_timeout_page(
    model_admin: Any, request: HttpRequest, *, url: str = "", form: Sequence[tuple[str, str]] | None = None
) -> HttpResponse:
    """Return the page that retries a request, with everything that the user typed. It reads nothing from the database.

    url, form: where and what to submit, by default the same request. Status 409 for a POST: proxies may replace a 503 with
    a page of their own, which would lose the form.
    """
    if form is None:
        form = [(name, value) for name in request.POST for value in request.POST.getlist(name)]
    is_form = request.method == "POST"
    context = {
        "title": _("Another session is saving"),
        "url": url or request.get_full_path(),
        "is_form": is_form,
        "hidden": [pair for pair in form if pair[0] not in ("csrfmiddlewaretoken", "notes")],
        "notes": dict(form).get("notes"),
        "max_notes": MAX_NOTES_CHARS,
        "back": reverse(f"{model_admin.admin_site.name}:streaming_chat_conversation_changelist"),
    }
    if is_form:
        return render_page(model_admin, request, "busy", context, status=409)
    headers = {"Retry-After": str(_RETRY_SECONDS)}
    return render_page(model_admin, request, "busy", context, status=503, headers=headers)
