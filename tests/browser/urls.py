"""URLs of the browser tests: those of the suite, a page with the plainest reader, and pages with a chat in them."""

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.urls import include, path
from django.views.generic import TemplateView
from django.views.static import serve

from tests.urls import urlpatterns as suite

EMBEDDED = ["box", "corner", "several", "loud", "later"]

urlpatterns = [
    *(suite if settings.MOUNT == "chat/" else [*suite[:-1], path(settings.MOUNT, include("streaming_chat.urls"))]),
    path("plain/", login_required(TemplateView.as_view(template_name="plain.html"))),
    *(path(f"embedded/{name}/", TemplateView.as_view(template_name=f"embedded/{name}.html")) for name in EMBEDDED),
    path("static/<path:path>", serve, {"document_root": settings.STATIC_ROOT}),
]
