"""Addresses of the app. API paths have no trailing slash: SDKs build their own, and a redirect loses a POST's body."""

from django.urls import path

app_name = "streaming_chat"

urlpatterns: list = []
