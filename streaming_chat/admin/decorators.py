"""Addresses that take forms, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.views.decorators.http import require_http_methods

# How an address names its conversation.
_CONVERSATION = ("object_id", "conversation_id", "pk")


def posted(model_admin: Any, view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Return a view of the admin that takes POST.

    A GET is led to the transcript, or to the list: it comes from the login page, where somebody was sent who had pressed a
    button after their session had ended.
    """

    @wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method == "POST":
            return view(request, *args, **kwargs)
        site = model_admin.admin_site.name
        conversation = next((kwargs[name] for name in _CONVERSATION if name in kwargs), None)
        if conversation is None:
            return HttpResponseRedirect(reverse("admin:streaming_chat_conversation_changelist", current_app=site))
        url = reverse("admin:streaming_chat_conversation_change", args=[conversation], current_app=site)
        message = kwargs.get("message_id")
        return HttpResponseRedirect(f"{url}?message={message}#m-{message}" if message else url)

    return require_http_methods(["GET", "POST"])(model_admin.admin_site.admin_view(answer))
