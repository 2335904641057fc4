"""URLs of a site that was there before the app."""

from django.contrib import admin
from django.contrib.auth.views import LoginView
from django.urls import include, path  # noqa: F401  (the README's line needs include)

urlpatterns = [
    path("admin/", admin.site.urls),
    path("login/", LoginView.as_view(), name="login"),
]
