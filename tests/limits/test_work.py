"""Nobody takes more than a share of a process's time, whatever their requests do and however many there are."""

from collections.abc import Iterator
from typing import Any
from unittest import mock
from urllib.parse import urlencode

import pytest
from django.db import connection, transaction
from django.test import Client, SimpleTestCase, TransactionTestCase, override_settings
from django.test.utils import CaptureQueriesContext

from streaming_chat.accounts.owners import user_key
from streaming_chat.chats.sharing import share
from streaming_chat.exceptions import APIError
from streaming_chat.models import Conversation, Message
from streaming_chat.testing import scripted_provider
from streaming_chat.views import work_shares
from streaming_chat.views.work_shares import NETWORK, Share, WorkShares, owner_share
from tests.factories import make_conversation, make_reply, make_token, make_user
from tests.native import ROOT, Api, code_of
from tests.test_csrf_matrix import API
from tests.test_owner_matrix import KINDS, PROGRAM, filled
from tests.test_token_matrix import METHODS

BO = Share(burst=5.0, part=0.25)
FORM = "application/x-www-form-urlencoded"


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def own_address(request: Any) -> str:
    """A site's own function of the address."""
    return request.headers.get("X-Real-IP", "")


@pytest.mark.once
class WorkSharesTests(SimpleTestCase):
    SHARES = {"ana": Share(burst=4.0, part=0.25)}

    def setUp(self) -> None:
        self.clock = Clock()
        self.taken = WorkShares(self.clock)

    def wait(self) -> int | None:
        """Return how long ana has to wait."""
        try:
            self.taken.require(self.SHARES)
        except APIError as error:
            return error.retry_after
        return None

    def test_so_much_may_be_taken_at_once(self):
        self.taken.charge(self.SHARES, 4.0)

        assert self.wait() is None

    def test_what_was_taken_beyond_that_has_to_be_made_up_for(self):
        self.taken.charge(self.SHARES, 4.0)
        self.taken.charge(self.SHARES, 0.5)

        assert self.wait() == 2
        self.clock.now += 1.5
        assert self.wait() == 1
        self.clock.now += 0.5
        assert self.wait() is None

    def test_a_part_may_be_taken_all_the_time(self):
        for _second in range(1_000):
            self.taken.charge(self.SHARES, 0.25)
            assert self.wait() is None
            self.clock.now += 1

    def test_nobody_else_has_to_wait(self):
        self.taken.charge(self.SHARES, 100.0)
        self.taken.require({"bo": BO})

    def test_each_of_several_shares_is_required(self):
        self.taken.charge(self.SHARES, 5.0)

        with self.assertRaises(APIError):
            self.taken.require({"bo": BO, **self.SHARES})

    def test_who_is_even_is_forgotten(self):
        self.taken.charge({f"owner {number}": BO for number in range(10)}, 1.0)
        self.clock.now += 4.0
        self.taken.charge(self.SHARES, 1.0)

        assert len(self.taken) == 1

    def test_so_many_are_held(self):
        for number in range(20_000):
            self.taken.charge({f"owner {number}": BO}, 100.0)

        assert len(self.taken) == 10_000


@scripted_provider()
class WorkTestCase(TransactionTestCase):
    """self.clock stands still, so that nothing is made up for."""

    def setUp(self) -> None:
        work_shares.work_shares.reset()
        self.addCleanup(work_shares.work_shares.reset)
        self.clock = self.enterContext(mock.patch.object(work_shares.work_shares, "_clock", Clock()))
        self.user = make_user()
        self.api = Api(self.user)

    def take(self, key: str, share: Share | None = None, *, seconds: float = 0.0) -> None:
        """Take all that one may take at once, and so many seconds more."""
        share = share or owner_share()
        work_shares.work_shares.charge({key: share}, share.burst + seconds)


class ViewTests(WorkTestCase):
    def test_the_work_of_a_request_is_charged(self):
        self.take(user_key(self.user))

        assert [self.api.get("api/conversations").status_code for _ in range(2)] == [200, 429]

    def test_so_is_the_work_of_a_refusal(self):
        """Nobody gets more by asking all the time."""
        self.take(user_key(self.user))
        waits = [self.api.get("api/conversations").headers.get("Retry-After") for _ in range(3)]

        assert waits[0] is None
        assert 0 < int(waits[1]) <= int(waits[2])

    def test_every_view_refuses_before_it_reads_or_writes(self):
        reply = make_reply(make_conversation())
        requests = list(self.requests(reply))
        bearer = {"Authorization": f"Bearer {make_token(self.user)}"}
        self.take(user_key(self.user), seconds=60)
        before = Conversation.objects.count(), Message.objects.count()

        assert len(requests) > 50
        for method, path, kind in requests:
            with self.subTest(f"{method} {path}"), CaptureQueriesContext(connection) as captured:
                headers = bearer if kind == PROGRAM else {}
                response = self.api.ask(method, path, {"content": "Hi"}, headers=headers)

                assert response.status_code == 429, response.content
                assert method == "HEAD" or code_of(response) == "too_many_requests"
                assert int(response.headers["Retry-After"]) >= 240
                # The token was looked up before it was known whose work it is.
                queries = [query["sql"] for query in captured if "streaming_chat_accesstoken" not in query["sql"]]
                assert not [sql for sql in queries if "streaming_chat_" in sql]
        assert (Conversation.objects.count(), Message.objects.count()) == before

    def requests(self, reply: Message) -> Iterator[tuple[str, str, str]]:
        """Yield the method, the path and the kind of every request to the API."""
        for route in API:
            row = reply.pk if "message_id" in route else reply.conversation_id
            path = filled(route, row, self.user.pk).removeprefix("chat/")
            # That is for chatdoctor, which has no account.
            for method in METHODS if path != "api/diagnosis" else ():
                if Client().generic(method, ROOT + path).status_code != 405:
                    yield method, path, KINDS[route]

    def test_another_user_is_served(self):
        self.take(user_key(self.user), seconds=60)

        assert Api(make_user("bo")).get("api/conversations").status_code == 200

    def test_more_live_replies_come_with_more_work(self):
        """A program that sends for many people has one account."""
        for limit, status in ((3, 429), (300, 200)):
            with self.subTest(limit), override_settings(STREAMING_CHAT_MAX_LIVE_REPLIES_PER_OWNER=limit):
                work_shares.work_shares.reset()
                work_shares.work_shares.charge({user_key(self.user): owner_share()}, 60.0)

                assert self.api.get("api/conversations").status_code == status

    def test_a_reply_that_is_read_again_is_charged_for_its_length(self):
        """It is encoded and sent in the event loop, where no thread's time is measured."""
        reply = self.api.reply()
        Message.objects.filter(pk=reply.pk).update(
            text="x" * 900_000, parts=[{"kind": "text", "text": "x" * 900_000}], position=900_001
        )
        charged = []
        with mock.patch.object(work_shares.work_shares, "charge", lambda shares, seconds: charged.append(seconds)):
            for after in (0, 900_001):
                self.api.get(f"api/messages/{reply.pk}/events?after={after}").close()

        assert 900_001 * work_shares._SECONDS_PER_UNIT in charged

    def test_in_a_sites_testcase_nobody_is_refused(self):
        """Its requests are all of one owner, and as fast as they can be."""
        self.take(user_key(self.user), seconds=60)
        with transaction.atomic():
            assert self.api.get("api/conversations").status_code == 200


class PageTests(WorkTestCase):
    def post(self, conversation: Conversation, content: str) -> Any:
        body = urlencode({"content": content})
        return self.api.ask("POST", f"c/{conversation.pk}", body, content_type=FORM)

    def test_a_page_says_so_in_the_sites_frame(self):
        conversation = make_conversation()
        self.take(user_key(self.user), seconds=60)

        for path in ("", f"c/{conversation.pk}", f"c/{conversation.pk}?view=plain"):
            with self.subTest(path):
                response = self.api.get(path)

                assert response.status_code == 429
                assert "You are sending requests too fast." in response.content.decode()
                assert int(response.headers["Retry-After"]) >= 240

    def test_a_form_keeps_its_text(self):
        conversation = make_conversation(title="Private")
        self.take(user_key(self.user), seconds=60)
        response = self.post(conversation, "Will it snow?")
        page = response.content.decode()

        assert response.status_code == 429
        assert "Will it snow?" in page
        assert "Private" not in page

    def test_the_page_of_an_error_is_charged(self):
        make_reply(conversation := make_conversation())
        self.take(user_key(self.user))

        assert [self.post(conversation, "").status_code for _ in range(2)] == [422, 429]


@override_settings(STREAMING_CHAT_SHARING=True)
class SharedTests(WorkTestCase):
    def setUp(self) -> None:
        super().setUp()
        make_reply(conversation := make_conversation(title="Private"))
        self.path = f"shared/{share(conversation).token}"

    def read(self, address: str = "192.0.2.1", user: Any = None) -> Any:
        return Api(user, REMOTE_ADDR=address).get(self.path)

    def test_a_reader_is_charged_by_network(self):
        self.take("network 192.0.2.1", NETWORK)

        assert [self.read().status_code for _ in range(2)] == [200, 429]
        assert self.read("192.0.2.2").status_code == 200

    def test_so_is_one_who_has_signed_in(self):
        """The cookie changes nothing about this page."""
        self.take(user_key(self.user), seconds=60)
        assert self.read(user=self.user).status_code == 200
        self.take("network 192.0.2.1", NETWORK, seconds=60)

        assert self.read(user=self.user).status_code == 429

    def test_guesses_are_charged_too(self):
        self.path = "shared/guessed"
        self.take("network 192.0.2.1", NETWORK)

        assert [self.read().status_code for _ in range(2)] == [404, 429]

    def test_a_refusal_shows_nothing_and_says_when_to_come_back(self):
        self.take("network 192.0.2.1", NETWORK, seconds=60)
        response = self.read()

        assert int(response.headers["Retry-After"]) >= 100
        assert b"Private" not in response.content
        assert response.headers["X-Robots-Tag"] == "noindex, nofollow"


@override_settings(STREAMING_CHAT_ALLOW_ANONYMOUS=True)
class VisitorTests(WorkTestCase):
    def visitor(self, address: str = "192.0.2.1", **headers: str) -> Api:
        return Api(REMOTE_ADDR=address, headers=headers or None)

    def status(self, api: Api) -> int:
        return api.post("api/token").status_code

    def test_without_a_cookie_a_network_counts(self):
        self.take("network 192.0.2.1", NETWORK, seconds=60)

        assert [self.status(self.visitor(address)) for address in ("192.0.2.1", "192.0.2.2")] == [429, 200]

    def test_with_one_a_network_counts_too(self):
        """Cookies are easy to collect."""
        visitor = self.visitor()
        before = self.status(visitor)
        self.take("network 192.0.2.1", NETWORK, seconds=60)

        assert [before, self.status(visitor)] == [200, 429]

    def test_users_do_not_count_there(self):
        self.take("network 192.0.2.1", NETWORK, seconds=60)

        assert Api(self.user, REMOTE_ADDR="192.0.2.1").get("api/conversations").status_code == 200

    def test_a_refused_visitor_gets_no_session(self):
        visitor = self.visitor()
        self.take("network 192.0.2.1", NETWORK, seconds=60)
        response = visitor.post("api/token")

        assert (response.status_code, response.cookies.get("sessionid")) == (429, None)

    def test_a_visitor_has_no_more_than_a_user(self):
        visitor = self.visitor()
        self.status(visitor)
        [key] = [key for key in work_shares.work_shares._paid_off_at if key.startswith("v:")]
        work_shares.work_shares.reset()
        self.take(key)

        assert [self.status(visitor), self.status(visitor), self.status(self.visitor())] == [200, 429, 200]

    def test_a_proxy_does_not_count(self):
        """Otherwise one visitor could lock out all visitors of a site whose server does not read the proxy's header."""
        for address in ("127.0.0.1", "10.0.0.1", "fd00::1", ""):
            with self.subTest(address):
                self.take(f"network {address}", NETWORK, seconds=60)

                assert self.status(self.visitor(address, **{"X-Forwarded-For": "192.0.2.1"})) == 200

    def test_a_header_hides_nobody(self):
        """Over the Internet, and behind a server that has read the header."""
        for address, header in (("1.1.1.1", "192.0.2.1"), ("10.0.0.1", "192.0.2.1, 10.0.0.1")):
            with self.subTest(address):
                self.take(f"network {address}", NETWORK, seconds=60)

                assert self.status(self.visitor(address, **{"X-Forwarded-For": header})) == 429

    def test_a_site_says_what_the_address_is(self):
        options = {"address": f"{__name__}.own_address"}
        quota = {"BACKEND": "streaming_chat.quotas.database.DatabaseQuota", "OPTIONS": options}
        self.take("network 192.0.2.1", NETWORK, seconds=60)

        with override_settings(STREAMING_CHAT_QUOTA=quota):
            statuses = [self.status(self.visitor("", **{"X-Real-IP": f"192.0.2.{number}"})) for number in (1, 2)]
        assert statuses == [429, 200]
