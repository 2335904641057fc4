"""Who may use the chat: the owners of the site's tokens, and of the app's own."""

from rest_framework.authentication import TokenAuthentication
from rest_framework.exceptions import AuthenticationFailed

from streaming_chat.accounts.permissions import Permissions


class SitePermissions(Permissions):
    def find_token_user(self, request):
        try:
            # None for a header that does not begin with "Token".
            found = TokenAuthentication().authenticate(request)
        except AuthenticationFailed:
            return None
        return found[0] if found else super().find_token_user(request)
