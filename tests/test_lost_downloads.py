"""A download ends soon after its owner has lost the right to read: a file of one conversation, and the archive of all."""

import random
import socket
from functools import partial

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.handlers.asgi import ASGIHandler
from django.test import TransactionTestCase, override_settings
from django.utils import timezone

from streaming_chat.accounts.owners import user_key
from streaming_chat.accounts.permissions import Permissions
from streaming_chat.asgi import get_asgi_application
from streaming_chat.models import AccessToken, Conversation

from .factories import make_conversation, make_reply, make_token, make_user
from .servers import Browser, ThreadServer

REPLIES, LENGTH = 30, 100_000
# Of each socket: without a limit, the kernel would take most of a download before its client reads it.
BUFFER_BYTES = 32_768


class Members(Permissions):
    """A site where the members of a group may read."""

    def may_read(self, request, owner):
        return owner.user.groups.filter(name="members").exists()


@override_settings(STREAMING_CHAT_HEARTBEAT_SECONDS=0.02)
class LostDownloadTests(TransactionTestCase):
    def setUp(self):
        self.members = Group.objects.create(name="members")
        conversation = make_conversation()
        # It does not compress to a few kilobytes.
        texts = random.Random(0)
        for _ in range(REPLIES):
            make_reply(conversation, texts.randbytes(LENGTH // 2).hex())
        self.paths = (f"api/conversations/{conversation.pk}/export", "api/export")

    def check(self, lose, *, has_token):
        """Read the beginning of each download, have `lose` take the right to read away, and read the rest."""
        for application in (ASGIHandler(), get_asgi_application()):
            for path in self.paths:
                with self.subTest(type(application).__name__, path=path), ThreadServer(application) as server:
                    server._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
                    self.check_download(self.client_of(server, has_token=has_token), path, lose)

    def client_of(self, server, *, has_token):
        """Return a client of a new user's, to whom the conversation belongs now."""
        user = make_user(f"user {get_user_model().objects.count()}")
        user.groups.add(self.members)
        Conversation.objects.update(owner=user, owner_key=user_key(user))
        client = Browser(server.port, user, session="" if has_token else None)
        self.addCleanup(client.close)
        if has_token:
            client.request = partial(client.request, Authorization=f"Bearer {make_token(user, scope='read')}")
        return client

    def check_download(self, client, path, lose):
        whole = client.get(path).body()
        cut = client.get(path)
        cut._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        cut.body(writes=1)
        lose()
        with self.assertLogs("uvicorn.error", "ERROR") as logged:
            cut.body()

        assert len(whole) > REPLIES * LENGTH
        assert len(cut.body()) < len(whole) / 2
        assert "forbidden" in logged.output[0]

    def test_with_a_token_that_is_revoked(self):
        self.check(lambda: AccessToken.objects.all().delete(), has_token=True)

    def test_with_a_token_that_expires(self):
        self.check(lambda: AccessToken.objects.update(expires_at=timezone.now()), has_token=True)

    def test_of_an_owner_who_is_deactivated(self):
        for has_token in (True, False):
            self.check(lambda: get_user_model().objects.update(is_active=False), has_token=has_token)

    @override_settings(STREAMING_CHAT_PERMISSIONS={"BACKEND": f"{__name__}.Members"})
    def test_of_an_owner_whom_the_site_forbids_to_read(self):
        self.check(self.members.user_set.clear, has_token=False)
