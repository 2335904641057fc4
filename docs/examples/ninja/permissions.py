"""The tokens of the site, each the signed id of a user. They are good for the chat, as are the tokens of the app."""

from django.contrib.auth import get_user_model
from django.core import signing
from ninja.security import HttpBearer

from streaming_chat.accounts.permissions import Permissions

SALT = "site-token"
DAY = 86_400


def make_token(user):
    return signing.dumps(user.pk, salt=SALT)


class SiteToken(HttpBearer):
    def authenticate(self, request, token):
        try:
            user_id = signing.loads(token, salt=SALT, max_age=DAY)
        except signing.BadSignature:
            return None
        return get_user_model().objects.filter(pk=user_id, is_active=True).first()


class SitePermissions(Permissions):
    def find_token_user(self, request):
        return SiteToken()(request) or super().find_token_user(request)
