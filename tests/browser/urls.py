"""URLs of the browser tests: those of the suite, the examples of docs/examples/, and pages with a chat in them."""

from django.conf import settings
from django.urls import include, path
from django.views.generic import TemplateView
from django.views.static import serve

from tests.urls import urlpatterns as suite

from .bundles import ROOT

EMBEDDED = ["box", "corner", "several", "loud", "later"]

urlpatterns = [
    *(suite if settings.MOUNT == "chat/" else [*suite[:-1], path(settings.MOUNT, include("streaming_chat.urls"))]),
    path("examples/htmx/", include("docs.examples.htmx.urls")),
    path("examples/<path:path>", serve, {"document_root": ROOT / "docs" / "examples"}),
    *(path(f"embedded/{name}/", TemplateView.as_view(template_name=f"embedded/{name}.html")) for name in EMBEDDED),
    path("static/<path:path>", serve, {"document_root": settings.STATIC_ROOT}),
]
