"""Access tokens: what they look like, what is stored of them, and when they are valid."""

import re
from datetime import timedelta
from unittest import mock

import pytest
from django.db import OperationalError
from django.test import RequestFactory, SimpleTestCase, TestCase, TransactionTestCase, override_settings
from django.utils import timezone

from streaming_chat.accounts import failed_tokens as module
from streaming_chat.accounts.access_tokens import find_token, present
from streaming_chat.accounts.authorization import has_authorization, token_of
from streaming_chat.accounts.failed_tokens import BURST, SECONDS_PER_FAILURE, FailedTokens
from streaming_chat.accounts.permissions import Permissions, still_may_read
from streaming_chat.exceptions import APIError
from streaming_chat.models import AccessToken
from streaming_chat.views.work_shares import MeasuredWork
from tests.factories import make_token, make_user
from tests.native import Api, error_of

TOKEN = re.compile(r"sc_([A-Za-z0-9]{8})_[A-Za-z0-9]{32}")


def request_with(token, method="GET"):
    return RequestFactory().generic(method, "/", headers={"Authorization": f"Bearer {token}"})


def found(token):
    return find_token(present(token))


class AccessTokenTests(TestCase):
    def test_what_it_looks_like(self):
        tokens = {make_token() for _ in range(20)}

        assert len(tokens) == 20
        assert all(TOKEN.fullmatch(token) for token in tokens)

    def test_only_its_beginning_and_a_digest_are_stored(self):
        token = make_token()
        [row] = AccessToken.objects.values()

        assert row["prefix"] == token[3:11]
        assert re.fullmatch("[0-9a-f]{64}", row["digest"])
        assert token[12:] not in str(row)

    def test_it_is_found_with_its_owner(self):
        token = make_token()

        assert found(token).owner == make_user()
        assert found(token[:-1] + ("a" if token[-1] != "a" else "b")) is None

    def test_the_key_is_the_sites(self):
        token = make_token()
        with override_settings(SECRET_KEY="another"):
            assert found(token) is None

    def test_a_fallback_key_is_accepted_and_replaced_at_the_next_use(self):
        token = make_token()
        with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["other", "for tests only"]):
            assert found(token) is not None
        with override_settings(SECRET_KEY="new"):
            assert found(token) is not None

    def test_one_that_has_expired_or_whose_owner_is_inactive_is_not_valid(self):
        soon = timezone.now() + timedelta(minutes=1)

        assert found(make_token(expires_at=soon)) is not None
        assert found(make_token(expires_at=timezone.now())) is None
        assert found(make_token(make_user("gone", is_active=False))) is None

    def test_its_repr_is_no_secret(self):
        token = make_token()
        row = AccessToken.objects.get()

        assert token[12:] not in repr(row)
        assert "Phone" not in str(row)


class LastUsedTests(TestCase):
    def setUp(self):
        self.token = make_token()

    def last_used(self):
        return AccessToken.objects.get().last_used_at

    def test_it_is_written_at_most_once_a_minute(self):
        assert self.last_used() is None
        found(self.token)
        first = self.last_used()
        # That of the token itself.
        with self.assertNumQueries(1):
            found(self.token)

        assert self.last_used() == first

        AccessToken.objects.update(last_used_at=first - timedelta(minutes=1))
        found(self.token)

        assert self.last_used() >= first

    def test_a_database_that_takes_no_writes_fails_no_request(self):
        with mock.patch("streaming_chat.accounts.access_tokens.write_transaction", side_effect=OperationalError):
            assert found(self.token) is not None


class AuthenticateTests(TestCase):
    def refused(self, request):
        with self.assertRaises(APIError) as raised:
            Permissions().authenticate(request)
        return raised.exception.status, raised.exception.code

    def test_the_owner_is_the_tokens_and_so_is_the_user(self):
        request = request_with(make_token(), "POST")
        request.user = make_user("bo")
        owner = Permissions().authenticate(request)

        assert owner.user == request.user == make_user()
        assert token_of(request) == AccessToken.objects.get()

    def test_a_request_without_the_header_has_no_token(self):
        assert token_of(RequestFactory().get("/")) is None

    def test_a_visitor_with_a_bad_token_is_not_a_visitor(self):
        with override_settings(STREAMING_CHAT_ALLOW_ANONYMOUS=True):
            request = request_with("nonsense")
            request.session = {"streaming_chat_visitor": "a" * 64}

            assert self.refused(request) == (401, "invalid_token")

    def test_a_view_may_accept_tokens_alone(self):
        request = RequestFactory().get("/")
        request.user = make_user()
        with self.assertRaises(APIError) as raised, MeasuredWork() as work:
            work.authenticate(request, bearer_only=True)
        with MeasuredWork() as work:
            owner = work.authenticate(request_with(make_token()), bearer_only=True)

        assert (raised.exception.status, raised.exception.code) == (401, "token_required")
        assert owner.user == make_user()

    def test_a_stream_ends_when_its_token_is_revoked(self):
        request = request_with(make_token())
        owner = Permissions().authenticate(request)
        may_read = still_may_read(request, owner)

        assert may_read() is True
        AccessToken.objects.all().delete()
        assert may_read() is False


class Clock:
    """A clock that a test moves."""

    now = 1_000.0

    def __call__(self):
        return self.now


class FailedTokensTests(SimpleTestCase):
    def setUp(self):
        self.clock = Clock()
        self.failed = FailedTokens(self.clock)

    def fail(self, network="a", times=1):
        for credentials in range(times):
            self.failed.note_failure(network, credentials)

    def wait(self, network="a", credentials=-1):
        try:
            self.failed.require(network, credentials)
        except APIError as error:
            return error.retry_after
        return None

    def test_so_many_may_fail_at_once(self):
        self.fail(times=BURST - 1)
        assert self.wait() is None
        self.fail()
        assert self.wait() == SECONDS_PER_FAILURE

    def test_then_one_after_another(self):
        self.fail(times=BURST)
        self.clock.now += SECONDS_PER_FAILURE
        assert self.wait() is None
        self.fail()
        assert self.wait() == SECONDS_PER_FAILURE

    def test_other_networks_are_not_affected(self):
        self.fail(times=BURST)

        assert self.wait("b") is None

    def test_neither_are_credentials_that_were_valid(self):
        self.failed.note_success(100)
        self.fail(times=BURST)
        assert self.wait(credentials=100) is None
        self.failed.note_failure("a", 100)
        assert self.wait(credentials=100) is not None

    def test_memory_is_limited(self):
        with mock.patch.object(module, "_MAX_KNOWN", 3):
            for number in range(5):
                self.fail(f"network {number}", BURST)
                self.failed.note_success(100 + number)

        assert (self.wait("network 1"), self.wait("network 4")) == (None, SECONDS_PER_FAILURE)
        assert list(self.failed._valid) == [102, 103, 104]


@pytest.mark.any_database
class RateLimitTests(TransactionTestCase):
    def test_a_network_that_tries_out_tokens_is_refused(self):
        module.failed_tokens.reset()
        self.addCleanup(module.failed_tokens.reset)
        api, good = Api(), make_token()

        def get(token):
            return api.get("api/conversations", headers={"Authorization": f"Bearer {token}"})

        assert get(good).status_code == 200
        answers = [get(f"guess {number}") for number in range(BURST + 1)]

        assert [answer.status_code for answer in answers] == [401] * BURST + [429]
        assert error_of(answers[-1])["code"] == "too_many_requests"
        assert 1 <= int(answers[-1]["Retry-After"]) <= SECONDS_PER_FAILURE
        assert get(make_token()).status_code == 429
        assert get(good).status_code == 200


class HasAuthorizationTests(SimpleTestCase):
    def test_the_schemes_of_browsers_do_not_count(self):
        for header, counts in (("Bearer x", True), ("", True), ("x", True), ("Basic x", False), ("negotiate x", False)):
            request = RequestFactory().get("/", headers={"Authorization": header})

            assert has_authorization(request) is counts
        assert has_authorization(RequestFactory().get("/")) is False
