"""The site's own API, and the chat beside it."""

from django.contrib import admin
from django.urls import include, path
from rest_framework.decorators import api_view
from rest_framework.response import Response


@api_view()
def me(request):
    return Response({"username": request.user.get_username()})


urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/me", me),
    path("chat/", include("streaming_chat.urls")),
]
