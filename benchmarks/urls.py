"""The app where the example site has it."""

from django.urls import include, path

urlpatterns = [path("chat/", include("streaming_chat.urls"))]
