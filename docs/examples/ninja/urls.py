"""The site's own API, and the chat beside it."""

from django.contrib import admin
from django.contrib.auth import authenticate
from django.urls import include, path
from ninja import NinjaAPI, Schema
from ninja.errors import HttpError
from permissions import SiteToken, make_token

api = NinjaAPI(auth=SiteToken())


class Credentials(Schema):
    username: str
    password: str


@api.post("token", auth=None)
def token(request, credentials: Credentials):
    user = authenticate(request, username=credentials.username, password=credentials.password)
    if user is None:
        raise HttpError(401, "This is not a name and its password.")
    return {"token": make_token(user)}


@api.get("me")
def me(request):
    return {"username": request.auth.get_username()}


urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/", api.urls),
    path("chat/", include("streaming_chat.urls")),
]
