"""URLs of the browser tests: those of the suite, and a page with the plainest reader."""

from django.contrib.auth.decorators import login_required
from django.urls import path
from django.views.generic import TemplateView

from tests.urls import urlpatterns as suite

urlpatterns = [*suite, path("plain/", login_required(TemplateView.as_view(template_name="plain.html")))]
