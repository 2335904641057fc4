"""A reader whose owner may no longer read is ended within two heartbeats; the reply and its other readers go on."""

import time
import uuid
from functools import partial

from django.contrib.auth.models import Group, Permission, User
from django.db import connections
from django.test import SimpleTestCase, TransactionTestCase, override_settings
from django.utils import timezone

from streaming_chat.accounts.permissions import Permissions
from streaming_chat.engine.access_guard import Access, AccessGuard
from streaming_chat.models import AccessToken, Conversation, LiveReply, Message
from tests.factories import make_conversation, make_reply, make_staff, make_token, make_user
from tests.provider_server import Gate, Script
from tests.servers import Browser, ServerTestCase, held, outcome, wait_until

DELTAS = ("Hel", "lo ", "wörld")
HEARTBEAT = 0.5


# Bodies of requests that stream, by path.
STREAMS = {
    "api/messages": {"content": "Hi"},
    "api/chat": {"messages": [{"role": "user", "content": "Hi"}]},
    "v1/chat/completions": {"model": "openai:any", "messages": [{"role": "user", "content": "Hi"}], "stream": True},
    "ai/chat": {"id": "one", "message": {"role": "user", "parts": [{"type": "text", "text": "Hi"}]}},
    "ai/ag_ui": {
        "threadId": "two",
        "runId": "1",
        "messages": [{"id": "1", "role": "user", "content": "Hi"}],
        "state": {},
        "tools": [],
        "context": [],
        "forwardedProps": {},
    },
}


def read_until(exchange, data):
    """Read the answer until it has these bytes."""
    while data not in b"".join(exchange.writes):
        assert exchange._write(), exchange.writes


class Reading:
    """A reader of a message, as far as its right to read goes."""

    def __init__(self, message_id: uuid.UUID) -> None:
        self.message_id = message_id
        self.denial = ""

    def deny(self, code: str) -> None:
        self.denial = code


class Members(Permissions):
    """A site where the members of a group may read."""

    def may_read(self, request, owner):
        return owner.user.groups.filter(name="members").exists()


class AwayRouter:
    """Sends everything to a database that cannot be reached."""

    def db_for_read(self, model, **hints):
        return "away"

    db_for_write = db_for_read


@override_settings(STREAMING_CHAT_HEARTBEAT_SECONDS=HEARTBEAT)
class OpenReaderTests(ServerTestCase):
    def test_readers_of_a_deactivated_owner_end_and_others_go_on(self):
        gate = Gate()
        with held(gate):
            self.provider.default = Script(DELTAS, gates={2: gate})
            mine = self.browser.send("mine").until_text("Hello ")
            second = self.browser.follow(mine.message_id).until_text("Hello ")
            other = Browser(self.server.port, make_user("bea"))
            self.addCleanup(other.close)
            theirs = other.send("theirs").until_text("Hello ")
            began = time.monotonic()
            User.objects.filter(pk=self.browser.user.pk).update(is_active=False)
            for exchange in (mine, second):
                exchange.rest()
            took = time.monotonic() - began
            gate.open()
            theirs.rest()

        for exchange in (mine, second):
            assert [frame.event for frame in exchange.endings] == ["failed"]
            assert exchange.endings[0].data["error"]["code"] == "forbidden"
            assert exchange.text == "Hello "
        # A second more for a busy machine.
        assert took < 2 * HEARTBEAT + 1
        assert theirs.text == "Hello wörld"
        assert outcome(self.ended(mine.message_id)) == ("completed", "stop", "")

    def test_a_client_that_waits_for_the_complete_reply_is_denied_access_as_well(self):
        gate = Gate()
        with held(gate):
            self.provider.default = Script(DELTAS, gates={2: gate})
            exchange = self.browser.send("mine", stream=False)
            wait_until(LiveReply.objects.exists)
            User.objects.filter(pk=self.browser.user.pk).update(is_active=False)
            answer = exchange.json()

        assert (exchange.status, answer["error"]["code"]) == (403, "forbidden")

    def token_client(self, name):
        """Return a client that has a token alone."""
        client = Browser(self.server.port, make_user(name), session="")
        client.request = partial(client.request, Authorization=f"Bearer {make_token(client.user)}")
        self.addCleanup(client.close)
        return client

    def test_readers_of_a_deleted_conversation_end(self):
        """Also where nothing stops its reply: a queryset of the site's own, or a copy of it that was put back."""
        gate = Gate()
        with held(gate):
            self.provider.default = Script(DELTAS, gates={2: gate})
            exchange = self.browser.send("mine").until_text("Hello ")
            deleted_at = Message.objects.get(pk=exchange.message_id).created_at
            Conversation.objects.filter(messages__id=exchange.message_id).update(deleted_at=deleted_at)
            exchange.rest()

        assert [frame.data["error"]["code"] for frame in exchange.endings] == ["forbidden"]

    @override_settings(STREAMING_CHAT_PERMISSIONS={"BACKEND": f"{__name__}.Members"})
    def test_readers_whom_the_site_forbids_to_read_end(self):
        """The backend decides by a group; the user is as active as before."""
        self.browser.user.groups.add(Group.objects.create(name="members"))
        gate = Gate()
        with held(gate):
            self.provider.default = Script(DELTAS, gates={2: gate})
            exchange = self.browser.send("mine").until_text("Hello ")
            self.browser.user.groups.clear()
            exchange.rest()

        assert [frame.data["error"]["code"] for frame in exchange.endings] == ["forbidden"]

    def test_staff_who_may_no_longer_read_transcripts_are_disconnected(self):
        gate = Gate()
        losses = (
            lambda user: user.user_permissions.remove(Permission.objects.get(codename="view_transcript")),
            lambda user: User.objects.filter(pk=user.pk).update(is_active=False),
            lambda user: User.objects.filter(pk=user.pk).update(is_staff=False),
            lambda user: user.delete(),
        )
        with held(gate):
            self.provider.default = Script(DELTAS, gates={2: gate})
            mine = self.browser.send("mine").until_text("Hello ")
            conversation = mine.frames[0].data["conversation"]
            path = f"/admin/streaming_chat/conversation/{conversation}/messages/{mine.message_id}/events"
            for number, lose in enumerate(losses):
                staff = Browser(self.server.port, make_staff(f"staff{number}", "view_conversation", "view_transcript"))
                self.addCleanup(staff.close)
                followed = staff.get(path).until_text("Hello ")
                lose(staff.user)
                followed.rest()

                assert [frame.data["error"]["code"] for frame in followed.endings] == ["forbidden"], number
            gate.open()

            assert mine.rest().text == "Hello wörld"

    def test_readers_with_a_token_that_is_no_longer_valid_end(self):
        """Of every address that streams. The token's owner may chat on with a session or another token."""
        losses = {
            "revoked": AccessToken.objects.all().delete,
            "expired": partial(AccessToken.objects.update, expires_at=timezone.now()),
            "of an inactive owner": partial(User.objects.update, is_active=False),
        }
        gate = Gate()
        with held(gate):
            self.provider.default = Script(DELTAS, gates={2: gate})
            for how, lose in losses.items():
                client = self.token_client(f"user {how}")
                exchanges = [client.post(path, body) for path, body in STREAMS.items()]
                for exchange in exchanges:
                    read_until(exchange, b"lo ")
                live = Message.objects.filter(status="streaming", conversation__owner=client.user)
                exchanges.append(client.follow(live.first().pk))
                read_until(exchanges[-1], b"lo ")
                lose()
                for exchange in exchanges:
                    with self.subTest(how, body=exchange.body()):
                        assert b"forbidden" in exchange.body()
                        assert "wörld".encode() not in exchange.body()
                        assert rb"w\u00f6rld" not in exchange.body()

    def test_a_reader_with_access_reads_on_over_many_heartbeats(self):
        gate = Gate()
        with held(gate):
            self.provider.default = Script(DELTAS, gates={2: gate})
            exchange = self.browser.send("mine").until_text("Hello ")
            while b"".join(exchange.writes).count(b":\n") < 4:
                assert exchange._write()
            gate.open()
            exchange.rest()

        assert [frame.event for frame in exchange.endings] == ["done"]


class LookTests(TransactionTestCase):
    def setUp(self):
        self.guard = AccessGuard()
        self.reply = make_reply(make_conversation())

    def look(self, *readers: Reading, **options) -> list[str]:
        leave = [self.guard.register(reader, Access(**options)) for reader in readers]
        self.guard._check_safely()
        for each in leave:
            each()

        assert self.guard.count == 0
        return [reader.denial for reader in readers]

    def test_one_query_checks_all_readers(self):
        readers = [Reading(make_reply(make_conversation(make_user(f"user{n}"))).pk) for n in range(5)]
        gone = Reading(uuid.uuid4())
        for reader in (*readers, gone):
            self.guard.register(reader, Access())
        with self.assertNumQueries(1):
            self.guard.check()

        assert [reader.denial for reader in readers] == [""] * 5
        assert gone.denial == "forbidden"

    def test_an_erased_conversation_is_nobodys(self):
        Conversation.objects.update(owner=None, owner_key="", erased_at=self.reply.created_at)

        assert self.look(Reading(self.reply.pk)) == ["forbidden"]

    def test_a_visitors_conversation_has_no_owner_to_be_deactivated(self):
        Conversation.objects.update(owner=None, owner_key="v:1")

        assert self.look(Reading(self.reply.pk)) == [""]

    def test_users_of_a_model_without_a_flag_are_active(self):
        """Such a model has `is_active` as a constant."""
        make_user_inactive(self.reply)
        with override_settings(AUTH_USER_MODEL="streaming_chat.Conversation"):
            refused = self.look(Reading(self.reply.pk))

        assert refused == [""]

    def test_staff_may_read_what_its_owner_may_not(self):
        make_user_inactive(self.reply)

        assert self.look(Reading(self.reply.pk), is_owner=False) == [""]
        assert self.look(Reading(self.reply.pk)) == ["forbidden"]

    def test_a_database_that_is_away_denies_no_reader(self):
        connections.databases["away"] = {**connections.databases["default"], "NAME": "/nowhere/at/all", "PORT": "1"}
        self.addCleanup(connections.databases.pop, "away")
        reader = Reading(uuid.uuid4())
        with override_settings(DATABASE_ROUTERS=[AwayRouter()]), self.assertLogs("streaming_chat", "WARNING"):
            refused = self.look(reader)

        assert refused == [""]

    def test_a_dropped_reader_is_forgotten(self):
        self.guard.register(Reading(self.reply.pk), Access())
        self.guard.check()

        assert self.guard._guarded.popitem()[1][0]() is None

    def test_readers_are_counted_by_owner(self):
        leave = [self.guard.register(Reading(self.reply.pk), Access(key=key)) for key in ("u:1", "u:1", "u:2")]
        before = [self.guard.count_of(key) for key in ("u:1", "u:2", "u:3")]
        for each in leave:
            each()

        assert before == [2, 1, 0]
        assert self.guard._counts == {}

    def test_what_else_the_right_depends_on_is_asked(self):
        assert self.look(Reading(self.reply.pk), may_read=lambda: True) == [""]
        assert self.look(Reading(self.reply.pk), may_read=lambda: False) == ["forbidden"]

    def test_an_error_of_the_sites_own_denies_nobody_and_ends_nothing(self):
        def fail():
            raise KeyError

        gone, asked = Reading(uuid.uuid4()), Reading(self.reply.pk)
        self.guard.register(asked, Access(may_read=fail))
        self.guard.register(gone, Access())
        with self.assertLogs("streaming_chat", "WARNING"):
            self.guard.check()

        assert gone.denial == "forbidden"


class IdleTests(SimpleTestCase):
    def test_the_thread_is_made_with_the_first_reader(self):
        fresh = AccessGuard()
        unwatched = fresh.register(Reading(uuid.uuid4()), Access(is_guarded=False))

        assert fresh._thread._thread is None
        unwatched()
        assert fresh.count == 0


def make_user_inactive(reply: Message) -> None:
    """Deactivate the owner of a reply."""
    owner = Conversation.objects.get(pk=reply.conversation_id).owner_id
    User.objects.filter(pk=owner).update(is_active=False)
