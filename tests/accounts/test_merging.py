"""What one wrote before one signed in is offered, moved when one says so, and nobody else's at any time."""

import json
from datetime import date
from decimal import Decimal
from typing import Any, Self

from django.db import connection
from django.test import override_settings

from streaming_chat.accounts.merging import TITLES
from streaming_chat.accounts.owners import user_key
from streaming_chat.engine.access_guard import access_guard
from streaming_chat.models import AccessRecord, Conversation, DailyOwnerUsage, Feedback, LiveReply, Message
from streaming_chat.privacy.accessed_owners import about
from streaming_chat.privacy.audit import record
from tests.factories import make_conversation, make_user
from tests.native import Api, ApiTestCase, error_of
from tests.provider_server import Gate
from tests.provider_server import Script as WireScript
from tests.servers import Browser, ServerTestCase, held, outcome

CLAIM = "api/claim"
LIST = "api/conversations"
ID = "streaming_chat_visitor"
NOTHING = {"conversations": 0, "titles": []}


class Person(Api):
    """A browser whose owner signs in and out as people do, by Django's own views."""

    def sign_in(self, name: str) -> None:
        user = make_user(name)
        user.set_password("pw")
        user.save()
        self.client.post("/accounts/login/", {"username": name, "password": "pw"})

        assert self.client.session["_auth_user_id"] == str(user.pk)

    def sign_out(self) -> None:
        self.client.post("/accounts/logout/")

    def offered(self) -> Any:
        return self.get(CLAIM).json()

    def titles(self) -> list[str]:
        return [item["title"] for item in self.get(LIST).json()["results"]]

    def copy(self) -> Self:
        """Return another browser with the same cookies: whoever planted them, or took them."""
        other = type(self)()
        other.client.cookies.load({name: morsel.value for name, morsel in self.client.cookies.items()})
        return other


@override_settings(STREAMING_CHAT_ALLOW_ANONYMOUS=True)
class ClaimTestCase(ApiTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.person = Person()


class OfferTests(ClaimTestCase):
    def test_it_says_how_many_and_the_newest_titles(self):
        for number in range(TITLES + 2):
            self.person.send(f"chat {number}")
        self.person.sign_in("ana")

        assert self.person.offered() == {
            "conversations": TITLES + 2,
            "titles": [f"chat {number}" for number in reversed(range(2, TITLES + 2))],
        }

    def test_nothing_is_moved_by_signing_in(self):
        self.person.send("Hi")
        self.person.sign_in("ana")

        assert self.person.titles() == []
        assert Conversation.objects.get().owner is None

    def test_a_user_who_was_no_visitor_is_offered_nothing(self):
        self.person.sign_in("ana")

        assert self.person.offered() == NOTHING
        assert self.person.post(CLAIM).json() == {"conversations": 0}
        assert self.person.delete(CLAIM).status_code == 204

    def test_what_was_deleted_is_not_offered(self):
        self.person.send("Hi")
        self.person.delete(f"{LIST}/{Conversation.objects.get().pk}")
        self.person.sign_in("ana")

        assert self.person.offered() == NOTHING

    def test_visitors_and_nobody_have_nothing_to_claim_for(self):
        self.person.send("Hi")
        for allowed in (True, False):
            with override_settings(STREAMING_CHAT_ALLOW_ANONYMOUS=allowed):
                for method in ("GET", "POST", "DELETE"):
                    response = self.person.ask(method, CLAIM, {})

                    assert (response.status_code, error_of(response)["code"]) == (401, "not_signed_in")
        assert Conversation.objects.get().owner is None

    def test_it_is_kept_for_who_signs_in_after_the_site_has_closed_to_visitors(self):
        self.person.send("Hi")
        with override_settings(STREAMING_CHAT_ALLOW_ANONYMOUS=False):
            self.person.sign_in("ana")

            assert self.person.post(CLAIM).json() == {"conversations": 1}
            assert self.person.titles() == ["Hi"]


class TakeTests(ClaimTestCase):
    def test_everything_is_the_users(self):
        reply = self.person.reply("Hi")
        self.person.put(f"api/messages/{reply.pk}/feedback", {"value": 1, "comment": "good"})
        self.person.send("Ho")
        self.person.sign_in("ana")
        ana = make_user("ana")

        assert self.person.post(CLAIM).json() == {"conversations": 2}
        assert set(Conversation.objects.values_list("owner", "owner_key")) == {(ana.pk, user_key(ana))}
        assert Feedback.objects.values_list("by", "owner_key").get() == (ana.pk, user_key(ana))
        assert self.person.get(f"api/messages/{reply.pk}").json()["feedback"] == {"value": 1, "comment": "good"}
        assert self.person.titles() == ["Ho", "Hi"]

    def test_nothing_of_anybody_else_is(self):
        theirs = Person()
        reply = theirs.reply("theirs")
        theirs.put(f"api/messages/{reply.pk}/feedback", {"value": -1})
        make_conversation(make_user("bo"))
        self.person.send("mine")
        before = (
            list(Conversation.objects.exclude(title="mine").order_by("pk").values_list()),
            Feedback.objects.get().by,
        )
        self.person.sign_in("ana")
        self.person.post(CLAIM)

        assert before == (
            list(Conversation.objects.exclude(title="mine").order_by("pk").values_list()),
            Feedback.objects.get().by,
        )
        assert theirs.titles() == ["theirs"]

    def test_a_second_time_there_is_nothing(self):
        self.person.send("Hi")
        self.person.sign_in("ana")

        assert [self.person.post(CLAIM).json()["conversations"] for _ in range(2)] == [1, 0]
        assert self.person.offered() == NOTHING
        assert ID not in self.person.client.session

    def test_who_comes_with_the_session_as_it_was_before_finds_nothing(self):
        self.person.send("Hi")
        self.person.sign_in("ana")
        before = self.person.client.session[ID]
        self.person.post(CLAIM)
        session = self.person.client.session
        session[ID] = before
        session.save()

        assert self.person.offered() == NOTHING
        assert self.person.post(CLAIM).json() == {"conversations": 0}
        assert self.person.titles() == ["Hi"]

    def test_who_leaves_and_comes_back_may_claim_again(self):
        self.person.send("one")
        self.person.sign_in("ana")
        self.person.post(CLAIM)
        self.person.sign_out()
        self.person.send("two")
        self.person.sign_in("ana")

        assert self.person.post(CLAIM).json() == {"conversations": 1}
        assert self.person.titles() == ["two", "one"]

    def test_what_was_deleted_a_moment_ago_can_still_be_restored(self):
        self.person.send("Hi")
        pk = Conversation.objects.get().pk
        self.person.delete(f"{LIST}/{pk}")
        self.person.sign_in("ana")

        assert self.person.post(CLAIM).json() == {"conversations": 0}
        assert self.person.post(f"{LIST}/{pk}/restore").status_code == 200
        assert self.person.titles() == ["Hi"]

    def test_it_takes_the_same_queries_for_any_number(self):
        for count in (1, 20):
            person = Person()
            for number in range(count):
                person.send(f"chat {number}")
            person.sign_in("ana")
            # Session and user; six updates and their savepoint; the session's update and its own. PostgreSQL's lock
            # timeout is read, set, and restored, since the test is a transaction already.
            queries = 19 if connection.vendor == "postgresql" else 16
            with self.subTest(count), self.assertNumQueries(queries):
                person.post(CLAIM)

    def test_the_access_records_name_the_user(self):
        """Staff find by the user's key what was read when the chat was still a visitor's."""
        self.person.send("Hi")
        chat = Conversation.objects.get()
        opened = record("open", make_user("rita"), conversation=chat.pk)
        sought = record("search", make_user("rita"), terms="Hi", owner_keys=[chat.owner_key, "v:another"])
        self.person.sign_in("ana")
        self.person.post(CLAIM)
        key = user_key(make_user("ana"))

        assert set(AccessRecord.objects.filter(about([key]))) == {opened, sought}
        assert set(AccessRecord.objects.filter(about([chat.owner_key]))) == set()
        assert set(AccessRecord.objects.filter(about(["v:another"]))) == {sought}

    def test_what_was_used_is_the_users(self):
        self.person.send("Hi")
        self.person.sign_in("ana")
        visitor_key, user = Conversation.objects.get().owner_key, user_key(make_user("ana"))
        days = [date(2026, 10, day) for day in (1, 2, 3)]
        for key, day, replies, cost in (
            *((visitor_key, day, 2, Decimal("0.5")) for day in days[:2]),
            *((user, day, 3, None) for day in days[1:]),
        ):
            DailyOwnerUsage.objects.create(
                day=day, owner_key=key, replies=replies, input_tokens=10, output_tokens=20, cost=cost, uncosted=1
            )

        self.person.post(CLAIM)

        columns = ("day", "owner_key", "replies", "input_tokens", "output_tokens", "cost", "uncosted")
        assert list(DailyOwnerUsage.objects.order_by("day").values_list(*columns)) == [
            (days[0], user, 2, 10, 20, Decimal("0.5"), 1),
            (days[1], user, 5, 20, 40, Decimal("0.5"), 2),
            (days[2], user, 3, 10, 20, None, 1),
        ]

    def test_sessions_in_cookies_do_as_well(self):
        with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies"):
            self.person.send("Hi")
            self.person.sign_in("ana")

            assert self.person.offered() == {"conversations": 1, "titles": ["Hi"]}
            assert self.person.post(CLAIM).json() == {"conversations": 1}
            assert self.person.offered() == NOTHING


class DeclineTests(ClaimTestCase):
    def test_it_is_nobodys_any_more(self):
        self.person.send("Hi")
        self.person.sign_in("ana")

        assert self.person.delete(CLAIM).status_code == 204
        assert self.person.offered() == NOTHING
        assert self.person.post(CLAIM).json() == {"conversations": 0}
        self.person.sign_out()
        assert self.person.titles() == []
        assert Conversation.objects.get().owner is None


class RepeatedSendTests(ClaimTestCase):
    """A draft keeps its client_id until its reply begins, and a page that signs in may not have seen that."""

    def setUp(self) -> None:
        super().setUp()
        self.first = self.person.reply("Hi", client_id="draft")
        self.person.sign_in("ana")
        self.person.post(CLAIM)

    def test_it_finds_the_reply_that_it_made_as_a_visitor(self):
        assert self.person.reply("Hi", client_id="draft") == self.first
        assert len(self.provider.calls) == 1

    def test_in_a_conversation_too(self):
        visitor = Person()
        conversation = visitor.reply("new").conversation
        first = visitor.reply("more", conversation, client_id="draft")
        visitor.sign_in("ana")
        visitor.post(CLAIM)

        assert visitor.reply("more", conversation, client_id="draft") == first

    def test_with_another_text_it_is_refused(self):
        assert self.person.post("api/messages", {"content": "Ho", "client_id": "draft"}).status_code == 422

    @override_settings(SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies")
    def test_who_still_has_the_visitors_session_finds_nothing_by_it(self):
        """A session in a cookie cannot be taken back."""
        visitor = Person()
        visitor.send("Hi", client_id="draft")
        old = visitor.copy()
        visitor.sign_in("ana")
        visitor.post(CLAIM)
        response = old.post("api/messages", {"content": "Hi", "client_id": "draft"})

        assert (response.status_code, error_of(response)["code"]) == (404, "not_found")


@override_settings(SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies")
class PlantedSessionTests(ClaimTestCase):
    """An attacker's session in the victim's browser. Signed cookies are the worst case: the attacker's stays good."""

    def setUp(self) -> None:
        super().setUp()
        self.attacker = self.person
        self.reply = self.attacker.reply("Ask me for your password")
        self.victim = self.attacker.copy()
        self.victim.sign_in("victim")

    def secrets(self) -> None:
        """Let the victim write, as a user."""
        self.victim.send("secret")

    def seen(self) -> str:
        """Return everything that the attacker can read."""
        found = [self.attacker.get(LIST).content]
        for conversation in Conversation.objects.all():
            found += [self.attacker.get(f"{LIST}/{conversation.pk}{rest}").content for rest in ("", "/messages")]
        for message in Message.objects.all():
            found += [
                b"".join(response.streaming_content) if response.streaming else response.content
                for response in (
                    self.attacker.get(f"api/messages/{message.pk}"),
                    self.attacker.get(f"api/messages/{message.pk}/events"),
                )
            ]
        return b"".join(found).decode()

    def test_nothing_that_the_victim_writes_is_the_attackers(self):
        self.secrets()

        assert "secret" not in self.seen()
        assert "password" in self.seen()

    def test_the_attackers_chat_is_offered_by_its_title_and_nothing_more(self):
        assert self.victim.offered() == {"conversations": 1, "titles": ["Ask me for your password"]}
        assert self.victim.titles() == []
        assert self.victim.get(f"api/messages/{self.reply.pk}").status_code == 404

    def test_after_a_claim_the_attacker_reads_nothing_of_it(self):
        self.victim.post(CLAIM)
        self.victim.send("secret", self.reply.conversation)

        assert json.loads(self.attacker.get(LIST).content)["results"] == []
        assert self.attacker.get(f"api/messages/{self.reply.pk}").status_code == 404
        assert "secret" not in self.seen()
        assert "password" not in self.seen()

    def test_nor_writes_into_it(self):
        self.victim.post(CLAIM)
        path = f"{LIST}/{self.reply.conversation_id}"

        assert self.attacker.post(f"{path}/messages", {"content": "Well?"}).status_code == 404
        assert self.attacker.patch(path, {"title": "Well?"}).status_code == 404
        assert self.attacker.delete(path).status_code == 404

    def test_the_attacker_cannot_claim_what_the_victim_has_claimed(self):
        self.victim.post(CLAIM)
        self.attacker.sign_in("attacker")

        assert self.attacker.post(CLAIM).json() == {"conversations": 0}
        assert Conversation.objects.get().owner == make_user("victim")

    def test_after_a_decline_the_victim_has_nothing_of_it(self):
        self.victim.delete(CLAIM)
        self.secrets()

        assert self.victim.titles() == ["secret"]
        assert "secret" not in self.seen()


class OneComputerTests(ClaimTestCase):
    """A chats as a visitor and leaves; B comes."""

    def setUp(self) -> None:
        super().setUp()
        self.person.send("of A")
        self.conversation = Conversation.objects.get()

    def test_b_declines_and_leaves_and_nobody_reads_it(self):
        self.person.sign_in("bo")
        self.person.delete(CLAIM)
        self.person.sign_out()

        assert self.person.titles() == []
        for name in ("ana", "bo"):
            self.person.sign_in(name)
            assert self.person.offered() == NOTHING
            assert self.person.get(f"{LIST}/{self.conversation.pk}").status_code == 404
            self.person.sign_out()

    def test_b_decides_nothing_and_leaves(self):
        self.person.sign_in("bo")
        self.person.sign_out()

        assert self.person.titles() == []
        self.person.sign_in("ana")
        assert self.person.offered() == NOTHING

    def test_a_signs_in_while_b_is(self):
        """Django ends B's session then, and with it what it held."""
        self.person.sign_in("bo")
        self.person.sign_in("ana")

        assert self.person.offered() == NOTHING
        assert self.person.titles() == []

    def test_what_b_claimed_before_is_not_found_by_who_comes_next(self):
        self.person.send("of A", client_id="draft")
        self.person.sign_in("bo")
        self.person.post(CLAIM)
        self.person.sign_in("ana")
        calls = len(self.provider.calls)
        self.person.send("of A", client_id="draft")

        assert len(self.provider.calls) == calls + 1
        assert self.person.titles() == ["of A"]

    def test_b_chats_as_a_visitor_after_a_has_claimed(self):
        self.person.sign_in("ana")
        self.person.post(CLAIM)
        self.person.sign_out()
        self.person.send("of B")

        assert self.person.titles() == ["of B"]


@override_settings(STREAMING_CHAT_ALLOW_ANONYMOUS=True)
class LiveClaimTests(ServerTestCase):
    def test_a_live_reply_goes_on_and_its_reader_is_not_cut(self):
        gate = Gate()
        self.provider.default = WireScript(["Hel", "lo ", "wörld"], gates={2: gate})
        visitor = Browser.of_visitor(self.server.port)
        self.addCleanup(visitor.close)
        with held(gate):
            reader = visitor.send("Hi").until_text("Hello ")
            before = LiveReply.objects.values_list("owner_key", "slot").get()
            visitor.sign_in()
            claimed = visitor.post(CLAIM).json()
            # What each heartbeat asks.
            access_guard.check()
            followed = visitor.follow(reader.message_id).until_text("Hello ")
            after = LiveReply.objects.values_list("owner_key", "slot").get()
            gate.open()
            texts = reader.rest().text, followed.rest().text

        assert claimed == {"conversations": 1}
        assert after == before
        assert texts == ("Hello wörld", "Hello wörld")
        assert outcome(self.ended(reader.message_id)) == ("completed", "stop", "")
        assert Conversation.objects.get().owner == visitor.user

    def test_the_user_stops_it(self):
        gate = Gate()
        self.provider.default = WireScript(["Hel", "lo"], gates={1: gate})
        visitor = Browser.of_visitor(self.server.port)
        self.addCleanup(visitor.close)
        with held(gate):
            reader = visitor.send("Hi").until_text("Hel")
            visitor.sign_in()
            visitor.post(CLAIM).json()
            stopped = visitor.stop(reader.message_id).json()

        assert (stopped["status"], stopped["text"]) == ("stopped", "Hel")
