"""What a day's quota counts and refuses, gives back, and forgets; exactly, however many ask at once."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, timedelta
from typing import Any
from unittest import skipUnless

from django.db import connection, connections
from django.test import RequestFactory, SimpleTestCase, TestCase, override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from streaming_chat.accounts.owners import user_key
from streaming_chat.asgi import get_asgi_application
from streaming_chat.engine.completion import Completion, finish_transaction, save_endings
from streaming_chat.engine.recovery import recover_reply
from streaming_chat.exceptions import APIError
from streaming_chat.models import Conversation, LiveReply, Message, QuotaUse
from streaming_chat.protocol.endings import completed, stopped
from streaming_chat.protocol.events import Event
from streaming_chat.providers.base import Usage
from streaming_chat.quotas import Quota, get_quota
from streaming_chat.quotas.database import DatabaseQuota, network_of, remote_address
from streaming_chat.shortcuts import send_message
from streaming_chat.testing import Script
from tests.engine.runs import Received, ended
from tests.factories import end_live, make_conversation, make_live, make_user
from tests.native import Api, ApiTestCase, error_of
from tests.provider_server import Script as WireScript
from tests.servers import Browser, ServerTestCase, ThreadServer, outcome, wait_until

DATABASE = "streaming_chat.quotas.database.DatabaseQuota"
# What the scripted provider says that a reply used.
USED = 7 + 4
BURST, LIMIT = 50, 5


def quota(**options: Any) -> override_settings:
    return override_settings(STREAMING_CHAT_QUOTA={"BACKEND": DATABASE, "OPTIONS": options})


def today() -> date:
    return timezone.now().astimezone(UTC).date()


def uses() -> dict[str, tuple[int, int]]:
    """Return replies and tokens of each key, named by its first word: "owner", "address", "site"."""
    rows = QuotaUse.objects.values_list("key", "replies", "tokens")
    return {key.partition(" ")[0]: (replies, tokens) for key, replies, tokens in rows}


def forwarded(request: Any) -> str:
    """A site's own function of the address."""
    return request.headers.get("X-Forwarded-For", "").rpartition(",")[2]


class NetworkTests(SimpleTestCase):
    def test_what_counts_as_one_address(self):
        for address, network in {
            "192.0.2.1": "192.0.2.1",
            "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64",
            "2001:db8:1:2:ffff::1": "2001:db8:1:2::/64",
            "2001:db8:1:3::1": "2001:db8:1:3::/64",
            "::ffff:192.0.2.1": "192.0.2.1",
            "fe80::1%eth0": "fe80::/64",
            " 192.0.2.1": "192.0.2.1",
            # A Unix socket has none, and whoever comes by it is counted together.
            "": "",
            "unknown": "unknown",
        }.items():
            with self.subTest(address):
                assert network_of(address) == network

    def test_it_is_of_who_is_connected(self):
        """Anybody can write X-Forwarded-For."""
        request = RequestFactory().get("/", REMOTE_ADDR="192.0.2.1", headers={"X-Forwarded-For": "198.51.100.1"})

        assert remote_address(request) == "192.0.2.1"


class OptionTests(SimpleTestCase):
    def test_the_default_one_is_there_where_there_are_visitors(self):
        """A quota costs a statement at each ending, also where it limits nobody."""
        assert get_quota() is None
        with override_settings(STREAMING_CHAT_ALLOW_ANONYMOUS=True):
            assert isinstance(get_quota(), DatabaseQuota)

    def test_none_switches_it_off(self):
        with override_settings(STREAMING_CHAT_ALLOW_ANONYMOUS=True, STREAMING_CHAT_QUOTA=None):
            assert get_quota() is None

    def test_the_setting_makes_one(self):
        with quota(owner_replies=1):
            assert isinstance(get_quota(), DatabaseQuota)
            assert get_quota() is get_quota()

    def test_limits_are_whole_numbers(self):
        for value in (-1, 1.5, "5", True):
            with self.subTest(value), self.assertRaises(ValueError):
                DatabaseQuota(site_tokens=value)


class CountingTests(ApiTestCase):
    def test_a_reply_and_its_tokens_are_counted_where_they_are_limited(self):
        with quota(owner_replies=10, owner_tokens=100_000, site_tokens=100_000, visitor_replies=1, address_replies=1):
            self.api.send()
            self.api.send()

        assert uses() == {"owner": (2, 2 * USED), "site": (2, 2 * USED)}

    def test_what_is_not_limited_is_not_counted(self):
        with quota():
            self.api.send()

        assert uses() == {}

    def test_the_estimate_is_reserved_until_then(self):
        """The prompt by 4 and max_output_tokens, rounded up."""
        seen = []
        self.provider.max_output_tokens = 1000
        with quota(owner_tokens=100_000):
            response = self.api.post("api/messages", {"content": "x" * 41})
            live = LiveReply.objects.get()
            seen.append(uses())
            b"".join(response.streaming_content)
            seen.append(uses())

        assert live.reserved["tokens"] == 11 + 1000
        assert seen == [{"owner": (1, 1011)}, {"owner": (1, USED)}]

    def test_everything_that_makes_a_reply_counts(self):
        with quota(owner_replies=10), self.captureOnCommitCallbacks():
            reply = self.api.reply()
            list(self.api.post(f"api/messages/{reply.pk}/regenerate").streaming_content)
            list(self.api.post("api/chat", {"messages": [{"role": "user", "content": "Hi"}]}).streaming_content)
            send_message(self.user, "Hi")

        assert uses()["owner"][0] == 4

    def test_a_repeated_send_does_not(self):
        with quota(owner_replies=1, owner_tokens=100_000):
            first = self.api.reply(client_id="a")

            assert self.api.reply(client_id="a") == first
            assert uses() == {"owner": (1, USED)}

    def test_without_a_quota_there_is_no_query_more(self):
        """One statement for each key, and one more for the row of a new day, which is a savepoint's three."""
        self.api.send()
        conversation = Conversation.objects.get()
        counts = []
        for setting in (override_settings(), quota(), quota(site_replies=10), quota(site_replies=10)):
            with setting, CaptureQueriesContext(connection) as captured:
                self.api.send("again", conversation)
            counts.append(len([query for query in captured if "streaming_chat_quotause" in query["sql"]]))

        assert counts == [0, 0, 4, 2]


class RefusalTests(ApiTestCase):
    def refused(self, api: Api, path: str = "api/messages", body: Any = None) -> Any:
        before = Conversation.objects.count(), Message.objects.count(), LiveReply.objects.count(), uses()
        response = api.post(path, body or {"content": "one more"})

        assert response.status_code == 429, response.content
        assert (Conversation.objects.count(), Message.objects.count(), LiveReply.objects.count(), uses()) == before

        return response

    def test_it_says_when_it_will_be_better_and_why_not_now(self):
        with quota(owner_replies=1):
            self.api.send()
            response = self.refused(self.api)
        error = error_of(response)
        midnight = timezone.now() + timedelta(seconds=int(response.headers["Retry-After"]))

        assert error["code"] == "quota_exceeded"
        assert error["retryable"]
        assert "tomorrow" in error["message"]
        assert midnight.astimezone(UTC).date() == today() + timedelta(days=1)
        assert midnight.astimezone(UTC).hour == 0

    def test_tomorrow_it_is_better(self):
        with quota(owner_replies=1):
            self.api.send()
            QuotaUse.objects.update(day=today() - timedelta(days=1))
            self.api.send()

        assert QuotaUse.objects.count() == 2

    def test_everything_that_makes_a_reply_is_refused(self):
        with quota(owner_replies=1):
            reply = self.api.reply()
            self.refused(self.api, f"api/conversations/{reply.conversation_id}/messages")
            self.refused(self.api, f"api/messages/{reply.pk}/regenerate", {"stream": False})
            self.refused(self.api, "api/chat", {"messages": [{"role": "user", "content": "Hi"}]})
            with self.assertRaises(APIError) as raised:
                send_message(self.user, "Hi")
        assert raised.exception.code == "quota_exceeded"

    def test_tokens_are_refused_by_what_they_might_become(self):
        self.provider.max_output_tokens = 1000
        with quota(owner_tokens=1500):
            self.api.send()
            self.refused(self.api, body={"content": "x" * 4 * 500})
            self.api.send()

        assert uses() == {"owner": (2, 2 * USED)}

    def test_what_one_limit_refuses_no_other_counts(self):
        with quota(owner_replies=9, site_replies=1):
            self.api.send()
            response = self.refused(Api(make_user("bo")))

        assert "This site" in error_of(response)["message"]
        assert uses() == {"owner": (1, USED), "site": (1, USED)}

    def test_a_limit_of_nothing_refuses_all(self):
        with quota(owner_replies=0):
            self.refused(self.api)


@override_settings(STREAMING_CHAT_ALLOW_ANONYMOUS=True)
class VisitorTests(ApiTestCase):
    def visitor(self, address: str = "192.0.2.1", **headers: str) -> Api:
        return Api(REMOTE_ADDR=address, headers=headers or None)

    def sends(self, api: Api) -> int:
        response = api.post("api/messages", {"content": "Hi", "stream": False})
        return response.status_code

    def test_where_nothing_is_configured_visitors_are_limited_and_users_are_not(self):
        visitor = self.visitor()

        assert [self.sends(visitor) for _ in range(21)] == [200] * 20 + [429]
        assert [self.sends(self.visitor()) for _ in range(41)] == [200] * 40 + [429]
        assert [self.sends(Api(self.user)) for _ in range(21)] == [200] * 21
        assert set(uses()) == {"owner", "address"}

    def test_each_has_what_a_visitor_may(self):
        with quota(visitor_replies=1, owner_replies=2):
            visitor = self.visitor()

            assert [self.sends(visitor), self.sends(visitor), self.sends(self.visitor())] == [200, 429, 200]
            assert [self.sends(self.api) for _ in range(3)] == [200, 200, 429]

    def test_who_drops_the_cookie_has_the_same_address(self):
        with quota(address_replies=2):
            assert [self.sends(self.visitor()) for _ in range(3)] == [200, 200, 429]
            assert self.sends(self.visitor("192.0.2.2")) == 200
            assert self.sends(Api(self.user, REMOTE_ADDR="192.0.2.1")) == 200

    def test_all_addresses_of_one_ipv6_network_are_one(self):
        with quota(address_replies=1):
            statuses = [self.sends(self.visitor(f"2001:db8:1:2::{number}")) for number in (1, 2)]

            assert [*statuses, self.sends(self.visitor("2001:db8:1:3::1"))] == [200, 429, 200]

    def test_a_site_says_what_the_address_is(self):
        with quota(address_replies=1, address=f"{__name__}.forwarded"):
            statuses = [self.sends(self.visitor(**{"X-Forwarded-For": f"9, {number}"})) for number in (1, 1, 2)]

        assert statuses == [200, 429, 200]

    def test_no_address_is_stored(self):
        with quota(address_replies=5, visitor_replies=None, visitor_tokens=None):
            self.sends(self.visitor())
            [key] = QuotaUse.objects.values_list("key", flat=True)
            QuotaUse.objects.update(day=today() - timedelta(days=1))
            with override_settings(SECRET_KEY="another"):
                self.sends(self.visitor())

        assert "192" not in key
        assert len(set(QuotaUse.objects.values_list("key", flat=True))) == 2


class SettlingTests(ApiTestCase):
    """Whoever ends a reply puts what it used in the place of what was reserved."""

    def setUp(self) -> None:
        super().setUp()
        self.enterContext(quota(owner_replies=10, owner_tokens=100_000))
        self.quota = get_quota()

    def make(self, name: str = "ana") -> LiveReply:
        user = make_user(name)
        plan = self.quota.plan(self.request(), user_key(user), input_tokens=100, output_tokens=1000)
        self.quota.reserve(plan, "default")
        return make_live(make_conversation(user), Event("text", "12345678"), reserved=plan, expires=-1)

    def request(self) -> Any:
        return RequestFactory().get("/")

    def end(self, live: LiveReply, ending: Any, *received: Event, **fields: Any) -> None:
        end_live(live, ending, *received, **fields)

    def test_a_failed_reply_is_given_back(self):
        self.provider.script(Script("", error="provider_unavailable"))
        reply = self.api.reply()

        assert reply.status == "failed"
        assert uses() == {"owner": (0, 0)}

    def test_one_that_broke_after_it_began_is_not(self):
        self.provider.script(Script("12345678", error="provider_error", usage=None))
        reply = self.api.reply("x" * 8)

        assert reply.status == "interrupted"
        assert uses() == {"owner": (1, 2 + 2)}

    def test_one_that_only_reasoned_is_not_either(self):
        """The provider has been paid for it."""
        hidden = Usage(input_tokens=2, output_tokens=6, reasoning_tokens=6)
        self.provider.script(Script("", end_reason="length", usage=hidden))
        reply = self.api.reply("x" * 8)

        assert (reply.status, reply.error_code) == ("failed", "reasoning_only")
        assert uses() == {"owner": (1, 2 + 6)}

    def test_a_continuation_that_is_refused_is_given_back(self):
        """It has text, but none of its own."""
        self.provider.script(Script("12345678", end_reason="length"), Script("", error="provider_auth"))
        reply = self.api.reply("x" * 8)
        before = uses()
        self.api.post(f"api/messages/{reply.pk}/continue").getvalue()
        refused = Message.objects.get(continues=reply)

        assert (refused.status, refused.error_code, refused.text) == ("interrupted", "provider_auth", "12345678")
        assert uses() == before

    def test_what_was_used_may_be_more(self):
        self.end(self.make(), completed("stop"), input_tokens=2000, output_tokens=3000)

        assert uses() == {"owner": (1, 5000)}

    def test_the_reply_of_a_dead_worker_counts_as_its_text_is_long(self):
        assert recover_reply(self.make())
        assert uses() == {"owner": (1, 100 + 2)}

    def test_one_that_was_stopped_before_it_began_counts_its_prompt(self):
        """The provider had it already."""
        self.end(self.make(), stopped("user"))

        assert uses() == {"owner": (1, 100)}

    def test_once(self):
        live = self.make()
        for _time in range(2):
            self.end(live, completed("stop"), input_tokens=1, output_tokens=1)

        assert uses() == {"owner": (1, 2)}

    def test_yesterdays_is_settled_on_yesterday(self):
        live = self.make()
        yesterday = today() - timedelta(days=1)
        QuotaUse.objects.update(day=yesterday)
        live.reserved["day"] = yesterday.isoformat()
        live.save()
        self.end(live, completed("stop"), input_tokens=1, output_tokens=1)

        assert QuotaUse.objects.values_list("day", "tokens").get() == (yesterday, 2)

    def test_several_of_one_owner_are_settled_together(self):
        fields = {"input_tokens": 1, "output_tokens": 1}
        lives = (self.make(), self.make(), self.make("bo"))
        ended = save_endings(
            [Completion(live.pk, live.conversation_id, live.worker, stopped("user"), [], fields) for live in lives],
            "default",
        )
        with self.assertNumQueries(2):
            finish_transaction(ended, "default")

        assert sorted(QuotaUse.objects.values_list("replies", "tokens")) == [(1, 2), (2, 4)]

    def test_a_flush_settles_last_of_all_and_in_one_order(self):
        """Reply by reply it would hold the site's row, which all share, and then want another owner's: a deadlock."""
        with quota(owner_replies=10, site_replies=10):
            runs = []
            for name in ("bo", "ana"):
                run = Received("me", "Hello")
                live = LiveReply.objects.filter(pk=run.message_id)
                key = user_key(make_user(name))
                plan = get_quota().plan(self.request(), key, input_tokens=1, output_tokens=1)
                get_quota().reserve(plan, "default")
                live.update(reserved=plan)
                run.outcome = completed("stop")
                runs.append(run)
            with CaptureQueriesContext(connection) as captured:
                done = ended(runs)
        settling = [query["sql"] for query in captured if query["sql"].startswith("UPDATE")][-3:]
        keys = [re.search(r"'(owner u:\d+|site)'", sql)[1] for sql in settling]

        assert done == runs
        assert len([query for query in captured if 'UPDATE "streaming_chat_quotause"' in query["sql"]]) == 3
        assert keys == sorted(keys)
        assert uses()["site"] == (2, 2 * (1 + 2))

    def test_rows_that_somebody_has_changed_stop_no_ending(self):
        live = self.make()
        QuotaUse.objects.update(replies=0, tokens=0)
        self.end(live, stopped("user"))

        assert not LiveReply.objects.exists()
        assert uses() == {"owner": (0, 0)}

    def test_what_another_backend_reserved_is_left(self):
        for reserved in ("ticket", {"ticket": 1}, [1]):
            live = self.make()
            live.reserved = reserved
            live.save()
            self.end(live, stopped("user"))

        assert not LiveReply.objects.exists()

    def test_a_quota_that_the_site_has_taken_away_is_not_asked(self):
        live = self.make()
        with override_settings(STREAMING_CHAT_QUOTA=None):
            self.end(live, stopped("user"))

        assert uses() == {"owner": (1, 1100)}

    def test_a_quota_that_limits_nothing(self):
        with override_settings(STREAMING_CHAT_QUOTA={"BACKEND": "streaming_chat.quotas.Quota"}):
            assert self.api.reply().status == "completed"
            assert type(get_quota()) is Quota


class OldRowsTests(TestCase):
    def test_a_new_row_takes_some_old_ones_with_it(self):
        for age in range(14):
            QuotaUse.objects.create(day=today() - timedelta(days=age), key="site")
        with quota(owner_replies=5):
            plan = get_quota().plan(RequestFactory().get("/"), "u:1", input_tokens=1, output_tokens=1)
            with self.captureOnCommitCallbacks(execute=True):
                get_quota().reserve(plan, "default")

        assert set(QuotaUse.objects.values_list("key", "day")) == {
            ("owner u:1", today()),
            *(("site", today() - timedelta(days=age)) for age in (0, 1, 2)),
            # Ten at a time, so that no request pays for many.
            ("site", today() - timedelta(days=3)),
        }


class AtOnceTests(ServerTestCase):
    """Real uvicorn, requests at the same moment."""

    def setUp(self) -> None:
        super().setUp()
        self.provider.default = WireScript(["Hello"])
        self.server_ = self.enterContext(ThreadServer(get_asgi_application(threads=8)))

    def at_once(self, browsers: list[Browser]) -> list[int]:
        for browser in browsers:
            self.addCleanup(browser.close)
        with ThreadPoolExecutor(len(browsers)) as pool:
            exchanges = list(pool.map(lambda browser: browser.send("Hi"), browsers))
            statuses = list(pool.map(lambda exchange: exchange.status, exchanges))
            taken = [exchange for exchange in exchanges if exchange.status == 200]
            list(pool.map(lambda exchange: exchange.rest(), taken))
        return statuses

    @override_settings(STREAMING_CHAT_ALLOW_ANONYMOUS=True)
    def test_first_messages_without_cookies_from_one_address(self):
        with quota(address_replies=LIMIT, site_replies=BURST, visitor_replies=None, visitor_tokens=None):
            statuses = self.at_once([Browser(self.server_.port, session="") for _ in range(BURST)])
            wait_until(lambda: not LiveReply.objects.exists())

        assert {status: statuses.count(status) for status in set(statuses)} == {200: LIMIT, 429: BURST - LIMIT}
        assert Message.objects.filter(role="assistant").count() == LIMIT
        assert Conversation.objects.values("owner_key").distinct().count() == LIMIT
        assert uses() == {"address": (LIMIT, LIMIT * USED), "site": (LIMIT, LIMIT * USED)}
        assert {outcome(message)[0] for message in Message.objects.filter(role="assistant")} == {"completed"}

    def test_sends_and_endings_of_many_owners(self):
        """Each takes its owner's row and the site's, while flushes settle several owners'."""
        browsers = [Browser(self.server_.port, make_user(f"user{number}")) for number in range(10)]
        with quota(owner_replies=100, site_replies=1000), self.assertNoLogs("streaming_chat", "ERROR"):
            for _round in range(5):
                assert set(self.at_once(browsers)) == {200}
            wait_until(lambda: not LiveReply.objects.exists())

        assert uses()["site"] == (50, 50 * USED)
        assert set(QuotaUse.objects.exclude(key="site").values_list("replies", "tokens")) == {(5, 5 * USED)}


@skipUnless(connection.vendor == "postgresql", "SQLite has one lock, and its timeout")
class HeldTests(ServerTestCase):
    def test_who_is_paused_with_the_sites_row_does_not_hold_up_everybody_for_ever(self):
        QuotaUse.objects.create(day=today(), key="site")
        with quota(site_replies=10):
            with held_elsewhere():
                exchange = self.browser.send("Hi")
                refused = exchange.status, exchange.json()["error"]["code"], int(exchange.headers["retry-after"])
            taken = self.browser.send("Hi").rest()

        assert refused == (503, "database_away", 2)
        assert taken.endings
        assert Conversation.objects.count() == 1


@contextmanager
def held_elsewhere() -> Iterator[None]:
    """Hold the site's row in a session of its own, as a process does that is paused."""
    other = connections.create_connection("default")
    try:
        with transaction_of(other), other.cursor() as cursor:
            cursor.execute("SELECT 1 FROM streaming_chat_quotause FOR UPDATE")
            yield
    finally:
        other.close()


@contextmanager
def transaction_of(session: Any) -> Iterator[None]:
    session.set_autocommit(False)
    yield
    session.rollback()
