"""`manage.py createtoken`: anybody's token, for scripts."""

from io import StringIO

from django.core.management import CommandError, call_command
from django.test import TestCase
from django.utils import timezone

from streaming_chat.accounts.access_tokens import MAX_TOKENS, find_token, present
from streaming_chat.models import AccessToken, Conversation
from tests.factories import make_token, make_user


def create(*arguments):
    out = StringIO()
    call_command("createtoken", *arguments, "--name", "Script", stdout=out)
    return out.getvalue()


class CreateTokenTests(TestCase):
    def setUp(self):
        self.user = make_user()

    def test_it_prints_the_token_and_nothing_else(self):
        token = find_token(present(create("ana").removesuffix("\n")))

        assert (token.owner, token.name, token.scope, token.expires_at) == (self.user, "Script", "chat", None)

    def test_its_scope_and_expiry(self):
        create(f"u:{self.user.pk}", "--scope", "read", "--days", "2")
        [token] = AccessToken.objects.all()

        assert token.scope == "read"
        assert (token.expires_at - timezone.now()).days == 1

    def test_only_users_have_tokens(self):
        Conversation.objects.create(owner_key="v:1", title="a")
        for name in ("nobody", "v:1"):
            with self.subTest(name), self.assertRaises(CommandError):
                create(name)
        assert not AccessToken.objects.exists()

    def test_there_is_a_limit(self):
        for _number in range(MAX_TOKENS):
            make_token()
        with self.assertRaisesMessage(CommandError, "too many access tokens"):
            create("ana")
