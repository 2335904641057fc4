"""A site answers the same under Django's ASGI handler and under that of `streaming_chat.asgi`, however it keeps sessions,
judges its users and routes its queries."""

import json
import re
import shutil
import tempfile
from contextlib import contextmanager
from functools import partial
from itertools import product
from unittest import mock
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.hashers import make_password
from django.contrib.sessions.backends import file
from django.core import asgi
from django.core.cache import cache
from django.db import DEFAULT_DB_ALIAS, connections
from django.test import TestCase, override_settings

from streaming_chat.asgi import get_asgi_application
from streaming_chat.models import Conversation
from streaming_chat.testing import Script, Streamed, scripted_provider

from .asgi_client import ASGIClient
from .factories import make_token, make_user

ENGINES = ["db", "cached_db", "cache", "file", "signed_cookies"]
MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"
ELSEWHERE = "elsewhere"
PASSWORD = "correct horse"
HI = {"role": "user", "content": "Hi"}
# What differs from one visit to the next, and what it is shown as.
VARYING = [
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:[\d.]+(?:Z|\+00:00)"), "TIME"),
    (re.compile(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT"), "TIME"),
    (re.compile(r"127\.0\.0\.1:\d+"), "HOST"),
    (re.compile(r'_ms": \d+'), '_ms": MS'),
    (re.compile(r'"created": ?\d{10}\b'), '"created": TIME'),
    (re.compile(r'"ref": ?"\w{12}"'), '"ref": REF'),
    (re.compile(r"\b(?:[A-Za-z0-9]{64}|[A-Za-z0-9]{32})\b"), "TOKEN"),
    (re.compile(r'name="client_id" value="[\w-]+"'), "CLIENT_ID"),
]
ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def plain(text, ids):
    """Return the text of an answer without what varies. ids: of this visit, and what each is shown as."""
    text = ID.sub(lambda found: ids.setdefault(found[0], f"ID {len(ids)}"), text)
    for pattern, shown in VARYING:
        text = pattern.sub(shown, text)
    return text


class LeavingBackend(ModelBackend):
    """Knows nobody who has left."""

    def get_user(self, user_id):
        user = super().get_user(user_id)
        return None if user is None or user.last_name == "left" else user


class Router:
    """Reads users and sessions elsewhere, and notes which."""

    read = set()

    def db_for_read(self, model, **hints):
        if model._meta.app_label not in {"auth", "sessions"}:
            return DEFAULT_DB_ALIAS
        self.read.add(model._meta.label)
        return ELSEWHERE

    def db_for_write(self, model, **hints):
        return DEFAULT_DB_ALIAS

    def allow_relation(self, one, other, **hints):
        return True


def look_at_the_user(get_response):
    """Have Django find the user, and leave nothing to the app's compiled statements."""

    def middleware(request):
        request.user.is_authenticated  # noqa: B018  (it is read)
        return get_response(request)

    return middleware


def djangos_application():
    """Return the site under Django's handler, with the session and the user that Django finds."""
    with override_settings(MIDDLEWARE=[*settings.MIDDLEWARE, f"{__name__}.look_at_the_user"]):
        return asgi.get_asgi_application()


@contextmanager
def read_elsewhere():
    """Have a second database with the same rows: those of a TestCase can be read by its connection only."""
    connections.settings[ELSEWHERE] = connections.settings[DEFAULT_DB_ALIAS]
    connections[ELSEWHERE] = connections[DEFAULT_DB_ALIAS]
    try:
        yield
    finally:
        del connections[ELSEWHERE], connections.settings[ELSEWHERE]


def site(engine, backend=MODEL_BACKEND, **others):
    """Return the settings of a site with this session engine and this authentication backend."""
    engine = f"django.contrib.sessions.backends.{engine}"
    return override_settings(SESSION_ENGINE=engine, AUTHENTICATION_BACKENDS=[backend], **others)


class Visit:
    """The requests of one person or program.

    seen: by step, the status, headers, cookies and body of the answer, and what the router read.
    """

    def __init__(self, get_application):
        self.client = ASGIClient(get_application, enforce_csrf_checks=True)
        self.seen = {}
        self._token = ""
        self._ids = {}
        self.authorization = ""

    @property
    def statuses(self):
        return [status for status, *_rest in self.seen.values()]

    @property
    def reads(self):
        return {model for *_rest, read in self.seen.values() for model in read}

    def sign_in(self, username):
        """Sign in by the site's form, and get a token for what follows."""
        page = self.ask("the form", "GET", "/accounts/login/")
        self._token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)[1]
        form = urlencode({"username": username, "password": PASSWORD})
        self.ask("sign in", "POST", "/accounts/login/", form, "application/x-www-form-urlencoded")
        self.get_token("the user's token")

    def get_token(self, step):
        self._token = json.loads(self.get(step, "token"))["csrf_token"]

    def send(self, step):
        """Send a message. Return the paths of the conversation and the reply."""
        start = Streamed(self.post(step, "messages", {"content": "Hi"}).encode()).start
        return f"conversations/{start['conversation']}", f"messages/{start['message']}"

    def get(self, step, path):
        return self.ask(step, "GET", f"/chat/api/{path}")

    def post(self, step, path, body=None):
        return self.ask(step, "POST", f"/chat/api/{path}", json.dumps(body or {}))

    def ask(self, step, method, address, data="", content_type="application/json"):
        headers = {"X-CSRFToken": self._token} if self._token else {}
        headers |= {"Authorization": self.authorization} if self.authorization else {}
        Router.read.clear()
        response = self.client.generic(method, address, data, content_type, headers=headers)
        body = response.getvalue().decode()
        self.seen[step] = (
            response.status_code,
            # The length differs with the digits of times.
            sorted((name, name == "Content-Length" or self._plain(value)) for name, value in response.items()),
            sorted(self._plain_cookie(cookie) for cookie in response.cookies.values()),
            self._plain(body),
            set(Router.read),
        )
        return body

    def complete(self, step, messages, **body):
        body = {"model": "scripted:model", "messages": messages, **body}
        return self.ask(step, "POST", "/chat/v1/chat/completions", json.dumps(body))

    def without_token(self, step, address="/chat/api/messages", body=None):
        token, self._token = self._token, ""
        self.ask(step, "POST", address, json.dumps(body or {"content": "Hi"}))
        self._token = token

    def _plain_cookie(self, cookie):
        """Its value is random or signed."""
        return cookie.key, bool(cookie.value), sorted((name, self._plain(str(value))) for name, value in cookie.items())

    def _plain(self, text):
        return plain(text, self._ids)


@scripted_provider(default=Script("Hello"))
class BothHandlersTests(TestCase):
    def setUp(self):
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        # Django asks for the folder once in a process.
        self.enterContext(mock.patch.object(file.SessionStore, "_storage_path", folder, create=True))
        self.addCleanup(cache.clear)
        self.enterContext(read_elsewhere())
        self.user = make_user(password=make_password(PASSWORD))

    def check(self, visit_site):
        """Return a visit, which is the same under both handlers."""
        visits = [Visit(partial(get_asgi_application, threads=1)), Visit(djangos_application)]
        for visit in visits:
            visit_site(visit)
            Conversation.objects.all().delete()
            self.change_user(last_name="", password=self.user.password)
        ours, djangos = visits

        assert ours.seen == djangos.seen
        assert set(ours.client.threads) == {"streaming_chat.request0_0"}
        return ours

    def change_user(self, **fields):
        get_user_model().objects.filter(pk=self.user.pk).update(**fields)

    def visit_as_a_user(self, visit):
        visit.sign_in("ana")
        visit.ask("the chat page", "GET", "/chat/")
        conversation, reply = visit.send("send")
        visit.get("list", "conversations")
        visit.get("read", f"{conversation}/messages")
        visit.get("read the reply", reply)
        visit.get("resume", f"{reply}/events?after=3")
        visit.post("stop", f"{reply}/stop")
        visit.without_token("without a token")
        self.change_user(last_name="left")
        visit.get("once the user has left", reply)
        self.change_user(last_name="", password="another")
        visit.get("after a change of the password", reply)
        visit.client.cookies[settings.SESSION_COOKIE_NAME] = "x" * 32
        visit.get("in a session that there is not", reply)
        del visit.client.cookies[settings.SESSION_COOKIE_NAME]
        visit.get("as nobody", reply)
        visit.post("send as nobody", "messages", {"content": "Hi"})

    def visit_as_a_visitor(self, visit):
        visit.get_token("token")
        _conversation, reply = visit.send("send")
        visit.get("list", "conversations")
        visit.get("resume", f"{reply}/events?after=3")
        visit.post("stop", f"{reply}/stop")
        del visit.client.cookies[settings.SESSION_COOKIE_NAME]
        visit.get("as somebody else", reply)

    def visit_as_a_program(self, visit):
        visit.authorization = f"Bearer {make_token(self.user)}"
        _conversation, reply = visit.send("send")
        visit.get("list", "conversations")
        visit.get("resume", f"{reply}/events?after=3")
        visit.post("stop", f"{reply}/stop")
        visit.authorization = f"Bearer {make_token(self.user, scope='read')}"
        visit.get("read", reply)
        visit.post("send with a token that may only read", "messages", {"content": "Hi"})
        visit.authorization += "x"
        visit.get("with another token", reply)

    def visit_as_a_program_of_openais_api(self, visit):
        visit.authorization = f"Bearer {make_token(self.user)}"
        visit.ask("models", "GET", "/chat/v1/models")
        whole = json.loads(visit.complete("whole", [HI]))["choices"][0]["message"]
        visit.complete("streamed", [HI, whole, HI], stream=True, stream_options={"include_usage": True})
        self.provider.script(Script("", error="provider_auth"), Script("", error="provider_auth"))
        visit.complete("failed", [HI])
        visit.complete("failed before the stream", [HI], stream=True)
        self.provider.script(Script("Half", error="provider_error"))
        visit.complete("failed in the stream", [HI], stream=True)
        visit.complete("refused", [HI], n=2)
        visit.authorization += "x"
        visit.ask("with another token", "GET", "/chat/v1/models")
        visit.complete("send with another token", [HI])

    def visit_with_other_clients(self, visit):
        """As a stateless client, `useChat` of the AI SDK, and one of AG-UI: sends, a repeated one and refusals."""
        visit.sign_in("ana")
        visit.post("api/chat", "chat", {"messages": [HI]})
        visit.post("api/chat again", "chat", {"messages": [HI, {"role": "assistant", "content": "Hello"}, HI]})
        visit.post("api/chat refused", "chat", {"messages": []})
        for step, body in {
            "ai/chat": {"id": "mine", "messages": [HI]},
            "ai/chat of the same chat": {"id": "mine", "messages": [HI]},
            "ai/chat regenerate": {"id": "mine", "messages": [HI], "trigger": "regenerate-message"},
            "ai/chat refused": {"id": "mine"},
        }.items():
            visit.ask(step, "POST", "/chat/ai/chat?sdk=6", json.dumps(body))
        visit.ask("resume", "GET", "/chat/ai/chat/mine/stream")
        visit.ask("stop", "POST", "/chat/ai/chat/mine/stop", "{}")
        visit.ask("stop an unknown chat", "POST", "/chat/ai/chat/other/stop", "{}")
        run = {"threadId": "mine", "runId": "1", "messages": [{"id": "m", **HI}]}
        for step, body in {"ai/ag_ui": run, "ai/ag_ui repeated": run, "ai/ag_ui refused": {**run, "runId": ""}}.items():
            visit.ask(step, "POST", "/chat/ai/ag_ui", json.dumps(body))
        visit.without_token("ai/chat without a token", "/chat/ai/chat", {"id": "mine", "messages": [HI]})
        visit.without_token("ai/ag_ui without a token", "/chat/ai/ag_ui", run)

    def test_programs(self):
        assert self.check(self.visit_as_a_program).statuses == [200] * 5 + [403, 401]
        answered = self.check(self.visit_as_a_program_of_openais_api)
        assert answered.statuses == [200, 200, 200, 502, 502, 200, 400, 401, 401]

    def test_other_clients(self):
        statuses = self.check(self.visit_with_other_clients).statuses

        assert statuses[3:] == [200, 200, 422, 200, 200, 200, 422, 204, 204, 404, 200, 200, 422, 403, 403]

    def test_users(self):
        backends = {MODEL_BACKEND: 200, f"{__name__}.LeavingBackend": 401}
        routers = [[], [f"{__name__}.Router"]]
        for engine, (backend, left), chosen in product(ENGINES, backends.items(), routers):
            with (
                self.subTest(engine=engine, backend=backend, routers=chosen),
                site(engine, backend, DATABASE_ROUTERS=chosen),
            ):
                visit = self.check(self.visit_as_a_user)

                assert visit.statuses == [200, 302, *[200] * 8, 403, left, 401, 401, 401, 401]
                assert ("auth.User" in visit.reads) == bool(chosen)

    def test_sessions_that_are_saved_by_each_request_or_have_the_token(self):
        for engine, setting in product(ENGINES, ["SESSION_SAVE_EVERY_REQUEST", "CSRF_USE_SESSIONS"]):
            with self.subTest(engine=engine, setting=setting), site(engine, **{setting: True}):
                assert self.check(self.visit_as_a_user).statuses == [200, 302, *[200] * 8, 403, 200, 401, 401, 401, 401]

    def test_visitors(self):
        for engine in ENGINES:
            with self.subTest(engine), site(engine, STREAMING_CHAT_ALLOW_ANONYMOUS=True):
                assert self.check(self.visit_as_a_visitor).statuses == [200] * 5 + [404]
