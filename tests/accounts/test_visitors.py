"""Visitors chat without an account: an id in their session, made by what they send, read by nobody else."""

from http.cookies import SimpleCookie
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.models import Session
from django.test import RequestFactory, TestCase, override_settings

from streaming_chat.accounts.owners import Owner, make_visitor, may_visit, request_key
from streaming_chat.accounts.permissions import Permissions
from streaming_chat.exceptions import APIError
from streaming_chat.models import Conversation
from streaming_chat.shortcuts import send_message
from streaming_chat.testing import read_stream
from tests.factories import make_reply, make_staff, make_user
from tests.native import Api, ApiTestCase, error_of
from tests.provider_server import Gate, Script
from tests.servers import Browser, ServerTestCase, held

LIST = "api/conversations"
allowed = override_settings(STREAMING_CHAT_ALLOW_ANONYMOUS=True)


def without(*names: str) -> override_settings:
    """Return the settings of a site that lacks these middlewares."""
    left = [path for path in settings.MIDDLEWARE if path.rpartition(".")[2] not in names]
    return override_settings(MIDDLEWARE=left)


def request_of(method: str = "POST", user: Any = None, session: Any = None) -> Any:
    """Return a request whose token has been checked by the test that made it."""
    request = RequestFactory().generic(method, "/")
    request.user = user or AnonymousUser()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore() if session is None else session
    request._dont_enforce_csrf_checks = True
    return request


@allowed
class IdTests(TestCase):
    def test_an_unsafe_request_makes_it_and_the_next_finds_it(self):
        request = request_of()
        owner = Permissions().authenticate(request)
        again = Permissions().authenticate(request_of("GET", session=request.session))

        assert owner == again
        assert owner.user is None
        assert owner.key.startswith("v:")

    def test_it_is_random_and_the_key_does_not_show_it(self):
        request, other = request_of(), request_of()
        key = make_visitor(request)
        [visitor_id] = request.session.values()

        assert len(bytes.fromhex(visitor_id)) == 32
        assert visitor_id not in key
        assert make_visitor(request) == key != make_visitor(other)

    def test_a_new_key_of_the_session_does_not_change_it(self):
        request = request_of()
        key = make_visitor(request)
        request.session.save()
        before = request.session.session_key
        request.session.cycle_key()

        assert request.session.session_key != before
        assert request_key(request) == key

    def test_who_looks_gets_none(self):
        for method in ("GET", "HEAD"):
            request = request_of(method)

            assert Permissions().authenticate(request) == Owner(None, "")
            assert request.session.is_empty()

    def test_who_is_identified_gets_none(self):
        """Pages ask who it is, also where they are posted to."""
        request = request_of("POST")

        assert Permissions().identify(request) == Owner(None, "")
        assert request.session.is_empty()

    def test_a_refused_token_makes_none(self):
        request = request_of()
        request._dont_enforce_csrf_checks = False

        with self.assertRaises(APIError) as raised:
            Permissions().authenticate(request)
        assert raised.exception.code == "csrf_failed"
        assert request.session.is_empty()


@allowed
class NobodyTests(TestCase):
    def refused(self, request: Any) -> None:
        for ask in (Permissions().identify, Permissions().authenticate):
            with self.assertRaises(APIError) as raised:
                ask(request)
            assert (raised.exception.status, raised.exception.code) == (401, "not_signed_in")
        assert request_key(request) == ""

    def test_a_site_that_does_not_allow_it(self):
        request = request_of()
        make_visitor(request)
        with override_settings(STREAMING_CHAT_ALLOW_ANONYMOUS=False):
            self.refused(request)

    def test_a_site_without_sessions(self):
        request = RequestFactory().post("/")
        self.refused(request)
        with without("SessionMiddleware", "AuthenticationMiddleware", "MessageMiddleware"):
            for response in (Api().get(LIST), Api().post("api/messages", {"content": "Hi"})):
                assert (response.status_code, error_of(response)["code"]) == (401, "not_signed_in")

    def test_a_deactivated_user(self):
        """The session names the account, which Django's middleware does not show any more."""
        api = Api(make_user())
        make_user("ana").__class__.objects.update(is_active=False)

        assert error_of(api.get(LIST))["code"] == "not_signed_in"
        assert error_of(api.post("api/messages", {"content": "Hi"}))["code"] == "not_signed_in"
        self.refused(request_of(user=make_user("gone", is_active=False)))

    def test_the_sites_own_code_sends_for_users_only(self):
        with self.assertRaises(APIError) as raised:
            send_message(AnonymousUser(), "Hi")
        assert raised.exception.status == 401


class AuthenticateOnly(Permissions):
    """A backend of a site's own from before visitors were."""

    def authenticate(self, request):
        return Owner(make_user("robot"), f"u:{make_user('robot').pk}")


@allowed
class ChatTests(ApiTestCase):
    def setUp(self) -> None:
        super().setUp()
        Session.objects.all().delete()
        self.visitor = Api()

    def test_without_an_id_there_is_nothing_and_nothing_is_made(self):
        erased = Conversation.objects.create(owner_key="", erased_at="2026-01-01T00:00:00Z")
        reply = make_reply(erased)
        listed = self.visitor.get(LIST)

        assert (listed.status_code, listed.json()["results"]) == (200, [])
        assert self.visitor.get("api/models").status_code == 200
        for path in (f"{LIST}/{erased.pk}", f"{LIST}/{erased.pk}/messages", f"api/messages/{reply.pk}"):
            assert self.visitor.get(path).status_code == 404
        assert not self.visitor.client.cookies
        assert not Session.objects.exists()

    def test_asking_for_a_token_by_post_makes_them_known(self):
        """Before their first message: its answer, with the cookie, may be held back by a proxy."""
        answer = self.visitor.post("api/token")
        [session] = Session.objects.all()

        assert set(answer.json()) == {"csrf_token"}
        assert self.visitor.client.cookies[settings.SESSION_COOKIE_NAME].value == session.session_key
        self.visitor.reply("Hi", client_id="a")
        assert self.visitor.get("api/messages?client_id=a").status_code == 200
        assert [each.session_key for each in Session.objects.all()] == [session.session_key]

    def test_they_send_and_read_what_they_said(self):
        first = self.visitor.send("Hi")
        conversation = Conversation.objects.get()
        self.visitor.send("And?", conversation)
        [listed] = self.visitor.get(LIST).json()["results"]

        assert first.text == "Hello, world"
        assert listed["id"] == str(conversation.pk)
        assert conversation.owner is None
        assert conversation.owner_key.startswith("v:")
        assert [message["role"] for message in self.visitor.get(f"{LIST}/{conversation.pk}").json()["messages"]] == [
            "user",
            "assistant",
            "user",
            "assistant",
        ]

    def test_another_visitor_does_not(self):
        self.visitor.send("Hi")
        other = Api()
        other.send("Hello")

        assert [item["title"] for item in other.get(LIST).json()["results"]] == ["Hello"]
        assert [item["title"] for item in self.visitor.get(LIST).json()["results"]] == ["Hi"]

    def test_the_session_is_saved_before_the_first_byte(self):
        response = self.visitor.post("api/messages", {"content": "Hi"})

        assert Session.objects.get().session_key == response.cookies[settings.SESSION_COOKIE_NAME].value
        assert read_stream(response).text == "Hello, world"

    def test_a_repeated_send_finds_its_reply(self):
        first, again = self.visitor.reply("Hi", client_id="a"), self.visitor.reply("Hi", client_id="a")

        assert first == again
        assert self.visitor.post("api/messages", {"content": "Ho", "client_id": "a"}).status_code == 422

    def test_their_judgement_is_nobodys(self):
        reply = self.visitor.reply("Hi")
        answer = self.visitor.put(f"api/messages/{reply.pk}/feedback", {"value": 1}).json()

        assert answer["feedback"] == {"value": 1, "comment": ""}
        assert reply.feedback.get().by is None

    def test_sessions_in_cookies_do_as_well(self):
        with override_settings(SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies"):
            self.visitor.send("Hi")
            self.visitor.send("Ho")

            assert len(self.visitor.get(LIST).json()["results"]) == 2

    def test_when_the_site_allows_it_no_more_staff_alone_read(self):
        reply = self.visitor.reply("Hi")
        staff = Api(make_staff("auditor", "view_conversation", "view_transcript")).client
        transcript = f"/admin/streaming_chat/conversation/{reply.conversation_id}/change/"
        with override_settings(STREAMING_CHAT_ALLOW_ANONYMOUS=False):
            assert error_of(self.visitor.get(LIST))["code"] == "not_signed_in"
            assert error_of(self.visitor.post("api/messages", {"content": "Hi"}))["code"] == "not_signed_in"
            assert b"Hello, world" in staff.get(transcript).content

    def test_a_backend_that_only_authenticates_goes_on(self):
        with override_settings(STREAMING_CHAT_PERMISSIONS={"BACKEND": f"{__name__}.AuthenticateOnly"}):
            Api().send("Hi")

        assert Conversation.objects.get().owner == make_user("robot")

    def test_users_are_users(self):
        Api(self.user).send("Hi")

        assert Conversation.objects.get().owner == self.user
        assert not may_visit(request_of(user=self.user))


@allowed
class LiveTests(ServerTestCase):
    @override_settings(STREAMING_CHAT_MAX_LIVE_REPLIES_PER_OWNER=2)
    def test_the_cap_on_live_replies_holds_for_a_visitor(self):
        gate = Gate()
        self.provider.default = Script(["Hel", "lo"], gates={1: gate})
        visitor = self.visitor()
        with held(gate):
            opened = [visitor.send("Hi").until_text("Hel") for _ in range(2)]
            refused = visitor.send("one more")
            code = refused.json()["error"]["code"]
            other = self.visitor().send("another's").until_text("Hel")
            gate.open()
            for exchange in (*opened, other):
                exchange.rest()

        assert (refused.status, code) == (429, "too_many_replies")

    def test_the_cookie_comes_before_the_first_byte_and_is_good_at_once(self):
        """A tab that is reloaded in mid-reply finds it."""
        gate = Gate()
        self.provider.default = Script(["Hel", "lo"], gates={0: gate})
        new = Browser(self.server.port, session="")
        self.addCleanup(new.close)
        with held(gate):
            sent = new.send("Hi")
            assert sent.status == 200
            cookie = SimpleCookie(sent.headers["set-cookie"])[settings.SESSION_COOKIE_NAME]
            known = Browser(self.server.port, session=cookie.value)
            self.addCleanup(known.close)
            [listed] = known.get(LIST).json()["results"]
            gate.open()
            sent.rest()

        assert listed["last_status"] == "streaming"
        assert sent.text == "Hello"

    def test_what_is_open_is_followed_from_elsewhere(self):
        gate = Gate()
        self.provider.default = Script(["Hel", "lo"], gates={1: gate})
        visitor = self.visitor()
        with held(gate):
            first = visitor.send("Hi").until_text("Hel")
            second = visitor.follow(first.message_id).until_text("Hel")
            gate.open()

            assert second.rest().text == "Hello"

    def visitor(self) -> Browser:
        browser = Browser.of_visitor(self.server.port)
        self.addCleanup(browser.close)
        return browser
