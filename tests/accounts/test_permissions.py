"""Who may do what, and the token that unsafe requests need."""

from django.contrib.auth.models import AnonymousUser
from django.test import RequestFactory, SimpleTestCase, TestCase, override_settings

from streaming_chat.accounts.owners import request_key, user_key
from streaming_chat.accounts.permissions import Permissions, get_permissions
from streaming_chat.exceptions import APIError
from streaming_chat.models import Conversation, Message
from tests.factories import make_conversation, make_reply, make_user


def request_of(user=None, method="GET"):
    request = RequestFactory().generic(method, "/")
    if user is not None:
        request.user = user
    return request


class Open(Permissions):
    """A backend with an option of its own."""

    def __init__(self, name=""):
        self.name = name


class AuthenticateTests(TestCase):
    def refused(self, request):
        with self.assertRaises(APIError) as raised:
            Permissions().authenticate(request)
        return raised.exception.status, raised.exception.code

    def test_a_signed_in_user_owns_what_is_theirs(self):
        ana = make_user()
        owner = Permissions().authenticate(request_of(ana))

        assert (owner.user, owner.key) == (ana, f"u:{ana.pk}")

    def test_nobody_else_is_anyone(self):
        inactive = make_user("gone", is_active=False)
        for user in (None, AnonymousUser(), inactive):
            assert self.refused(request_of(user)) == (401, "not_signed_in")
            assert request_key(request_of(user)) == ""

    def test_an_unsafe_request_needs_the_token(self):
        ana = make_user()
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            assert self.refused(request_of(ana, method)) == (403, "csrf_failed")
        for method in ("GET", "HEAD"):
            assert Permissions().authenticate(request_of(ana, method)).user == ana


class OwnedRowsTests(TestCase):
    def test_rows_are_fetched_through_their_owner(self):
        mine, theirs = make_reply(make_conversation()), make_reply(make_conversation(make_user("bo")))
        request = request_of(make_user())

        assert list(Conversation.objects.for_owner(request_key(request))) == [mine.conversation]
        assert set(Message.objects.for_owner(request_key(request))) == {mine, mine.parent}
        assert theirs not in Message.objects.for_owner(request_key(request))

    def test_nobody_and_no_key_have_none(self):
        make_reply(make_conversation())

        assert not Conversation.objects.for_owner(request_key(request_of()))
        assert not Message.objects.for_owner(request_key(request_of()))
        assert not Conversation.objects.for_owner("")


class BackendTests(SimpleTestCase):
    def test_the_setting_names_it_with_its_options(self):
        backend = {"BACKEND": f"{__name__}.Open", "OPTIONS": {"name": "lab"}}
        with override_settings(STREAMING_CHAT_PERMISSIONS=backend):
            assert get_permissions().name == "lab"
            assert get_permissions() is get_permissions()
        assert type(get_permissions()) is Permissions

    def test_a_key_names_a_user_by_primary_key(self):
        class User:
            pk = "7c1a"

        assert user_key(User) == "u:7c1a"
