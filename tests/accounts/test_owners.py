"""Owner keys."""

from types import SimpleNamespace

from django.contrib.auth.models import AnonymousUser, User
from django.test import RequestFactory, SimpleTestCase, override_settings

from streaming_chat.accounts.owners import make_visitor, request_key, user_key


def request_of(user=None):
    request = RequestFactory().get("/")
    request.session = {}
    if user is not None:
        request.user = user
    return request


class KeyTests(SimpleTestCase):
    def test_a_user_is_known_by_the_primary_key(self):
        assert user_key(SimpleNamespace(pk=7)) == request_key(request_of(User(pk=7))) == "u:7"

    def test_nobody_owns_anything_without_an_active_account(self):
        assert request_key(request_of()) == ""
        assert request_key(request_of(AnonymousUser())) == ""
        assert request_key(request_of(User(pk=7, is_active=False))) == ""

    @override_settings(STREAMING_CHAT_ALLOW_ANONYMOUS=True)
    def test_a_visitor_has_a_key_once_there_is_an_id(self):
        request = request_of(AnonymousUser())
        before = request_key(request)
        made = make_visitor(request)

        assert before == ""
        assert made.startswith("v:")
        assert request_key(request) == made
