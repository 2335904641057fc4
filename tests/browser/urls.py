"""URLs of the browser tests: those of the suite, a page with the plainest reader, and pages with a chat in them."""

from django.contrib.auth.decorators import login_required
from django.urls import path
from django.views.generic import TemplateView

from tests.urls import urlpatterns as suite

EMBEDDED = ["box", "corner", "several", "loud"]

urlpatterns = [
    *suite,
    path("plain/", login_required(TemplateView.as_view(template_name="plain.html"))),
    *(path(f"embedded/{name}/", TemplateView.as_view(template_name=f"embedded/{name}.html")) for name in EMBEDDED),
]
