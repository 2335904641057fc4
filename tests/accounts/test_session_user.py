"""The session and the user of a request are what Django finds, however a site keeps and judges them.

This module is a session engine, too: it has a `SessionStore` of its own.
"""

import shutil
import tempfile
from contextlib import ExitStack
from importlib import import_module
from unittest import mock

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.auth.backends import AllowAllUsersModelBackend, ModelBackend
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.auth.models import AbstractUser, User, UserManager
from django.contrib.sessions.backends import db, file
from django.contrib.sessions.middleware import SessionMiddleware
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.db import DEFAULT_DB_ALIAS, connection, models, transaction
from django.db.models.sql.compiler import SQLCompiler
from django.http import HttpResponse
from django.test import RequestFactory, SimpleTestCase, TestCase, override_settings
from django.test.utils import CaptureQueriesContext, isolate_apps
from django.utils.functional import SimpleLazyObject

from streaming_chat.accounts.owners import Owner, request_key
from streaming_chat.accounts.permissions import Permissions
from streaming_chat.accounts.session_user import _is_read_by_key, load_user
from tests.factories import make_user

ENGINES = [
    "django.contrib.sessions.backends.db",
    "django.contrib.sessions.backends.cached_db",
    "django.contrib.sessions.backends.cache",
    "django.contrib.sessions.backends.file",
    "django.contrib.sessions.backends.signed_cookies",
    __name__,
]
MODEL_BACKEND = "django.contrib.auth.backends.ModelBackend"


class SessionStore(db.SessionStore):
    """Keeps a copy of each session that it reads."""

    def load(self):
        return {**super().load(), "copied": True}


class EmailBackend(ModelBackend):
    """Signs in by another name, and gets users as its base does."""

    def authenticate(self, request, email=None, **kwargs):
        return None


class NicknameBackend(ModelBackend):
    """Gets users in its own way."""

    def get_user(self, user_id):
        user = super().get_user(user_id)
        if user is not None:
            user.nickname = "Annie"
        return user


class ForeignBackend:
    """Is no relative of Django's."""

    def get_user(self, user_id):
        return User(pk=user_id, username="from elsewhere")


BACKENDS = [
    MODEL_BACKEND,
    f"{AllowAllUsersModelBackend.__module__}.{AllowAllUsersModelBackend.__name__}",
    "django.contrib.auth.backends.RemoteUserBackend",
    f"{__name__}.EmailBackend",
    f"{__name__}.NicknameBackend",
    f"{__name__}.ForeignBackend",
]


def using(engine=ENGINES[0], backend=MODEL_BACKEND):
    """Return the settings of a site with this session engine and this authentication backend."""
    return override_settings(SESSION_ENGINE=engine, AUTHENTICATION_BACKENDS=[backend])


def new_session(data):
    """Return a session that is saved with these data."""
    session = import_module(settings.SESSION_ENGINE).SessionStore()
    session.update(data)
    session.save()
    return session


def data_of(user):
    """Return the data of a session in which a user has signed in."""
    return {
        SESSION_KEY: str(user.pk),
        BACKEND_SESSION_KEY: settings.AUTHENTICATION_BACKENDS[0],
        HASH_SESSION_KEY: user.get_session_auth_hash(),
        "seen": [1, 2],
    }


def request_with(key):
    """Return a request with this session cookie, as it leaves Django's middleware."""
    request = RequestFactory().get("/")
    if key:
        request.COOKIES[settings.SESSION_COOKIE_NAME] = key
    for middleware in (SessionMiddleware, AuthenticationMiddleware):
        middleware(HttpResponse).process_request(request)
    return request


# What happens to a session before the request: each returns the key that the browser sends.


def valid(session, user):
    return session.session_key


def expired(session, user):
    session.set_expiry(-60)
    session.save()
    return session.session_key


def tampered(session, user):
    cache.clear()
    if not Session.objects.filter(pk=session.session_key).update(session_data="eyJfYXV0aF91c2VyX2lkIjoiMSJ9:1:x"):
        return session.session_key[::-1]
    return session.session_key


def undecodable(session, user):
    cache.clear()
    Session.objects.update(session_data="x")
    return session.session_key


def logged_out(session, user):
    key = session.session_key
    session.flush()
    return key


def no_cookie(session, user):
    return ""


def unknown(session, user):
    return "x" * 32


def too_short(session, user):
    return "x"


def of_a_visitor(session, user):
    return new_session({"seen": [3]}).session_key


def deactivated(session, user):
    get_user_model().objects.filter(pk=user.pk).update(is_active=False)
    return session.session_key


def deleted(session, user):
    get_user_model().objects.filter(pk=user.pk).delete()
    return session.session_key


def password_changed(session, user):
    get_user_model().objects.filter(pk=user.pk).update(password="another")
    return session.session_key


def without_hash(session, user):
    del session[HASH_SESSION_KEY]
    session.save()
    return session.session_key


def without_backend(session, user):
    del session[BACKEND_SESSION_KEY]
    session.save()
    return session.session_key


def of_a_removed_backend(session, user):
    session[BACKEND_SESSION_KEY] = "people.backends.Gone"
    session.save()
    return session.session_key


def of_a_former_key_type(session, user):
    session[SESSION_KEY] = "7c1a"
    session.save()
    return session.session_key


STATES = [valid, expired, tampered, undecodable, logged_out, no_cookie, unknown, too_short, of_a_visitor, deactivated]
STATES += [deleted, password_changed, without_hash, without_backend, of_a_removed_backend, of_a_former_key_type]


class SessionUserTestCase(TestCase):
    def setUp(self):
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        # Django asks for the folder once in a process.
        self.enterContext(mock.patch.object(file.SessionStore, "_storage_path", folder, create=True))
        self.addCleanup(cache.clear)
        self.user = make_user(password="md5$salt$hash", first_name="Ana")

    def check(self, state, *, now=()):
        """Compare what Django finds with what is found after `load_user`. now: settings at the time of the request."""
        plain, loaded = (self.outcome(state, load, now) for load in (lambda request: None, load_user))

        assert loaded == plain

    def outcome(self, state, load, now):
        """Return everything that can be seen of the request's user and session, and what has become of the stored one."""
        with transaction.atomic():
            key = state(new_session(data_of(self.user)), self.user)
            with ExitStack() as stack:
                for setting in now:
                    stack.enter_context(setting)
                request = request_with(key)
                found = self.seen(request, load), self.seen_session(request.session, key)
            transaction.set_rollback(True)
        cache.clear()
        return found

    def seen(self, request, load):
        try:
            load(request)
            user = request.user
            fields = {name: value for name, value in vars(user._wrapped).items() if name != "_state"} if user.pk else {}
            state = user._state if user.pk else None
            return type(user._wrapped), user.pk, fields, state and (state.db, state.adding)
        except ValidationError as error:
            return type(error), str(error)

    def seen_session(self, session, key):
        keeps_key = session.session_key == key
        flags = (session.accessed, session.modified, session.is_empty(), session.session_key is None, keeps_key)
        return flags, dict(session.items()), session.exists(key)


class MatrixTests(SessionUserTestCase):
    def test_every_state_with_every_engine(self):
        for engine in ENGINES:
            for state in STATES:
                with self.subTest(engine=engine, state=state.__name__), using(engine):
                    self.check(state)

    def test_every_state_with_every_backend(self):
        for backend in BACKENDS:
            for state in STATES:
                with self.subTest(backend=backend, state=state.__name__), using(backend=backend):
                    self.check(state)

    def test_after_a_change_of_the_secret_key(self):
        """The session is kept if the former key is a fallback: Django signs it again, and gives it another key."""
        for engine in ENGINES:
            for fallbacks in ([], [settings.SECRET_KEY]):
                with self.subTest(engine=engine, fallbacks=fallbacks), using(engine):
                    self.check(valid, now=[override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=fallbacks)])

    def test_without_time_zones(self):
        for state in (valid, expired):
            with self.subTest(state.__name__), override_settings(USE_TZ=False):
                self.check(state)

    def test_with_another_serializer(self):
        with override_settings(SESSION_SERIALIZER=f"{__name__}.Serializer"):
            self.check(valid)


class Serializer:
    """Writes what Python can read."""

    def dumps(self, data):
        return repr(data).encode()

    def loads(self, data):
        return {**eval(data, {}), "read": True}  # noqa: S307  (it has written them itself)


class LoadTests(SessionUserTestCase):
    """Which way is taken."""

    def loaded(self, request, queries):
        """Return whether the user is there after so many statements."""
        with self.assertNumQueries(queries):
            load_user(request)
        return hasattr(request, "_cached_user")

    def signed_in(self):
        return request_with(new_session(data_of(self.user)).session_key)

    def test_two_statements_read_the_session_and_the_user(self):
        request = self.signed_in()

        assert self.loaded(request, queries=2)
        with self.assertNumQueries(0):
            assert request.user == self.user
            assert request.session["seen"] == [1, 2]

    def test_nothing_is_compiled_for_the_second_request(self):
        load_user(self.signed_in())
        request = self.signed_in()
        with mock.patch.object(SQLCompiler, "as_sql", side_effect=AssertionError):
            assert self.loaded(request, queries=2)

    def test_backends_that_get_users_as_djangos_does(self):
        for backend in BACKENDS[:4]:
            with self.subTest(backend), using(backend=backend):
                assert self.loaded(self.signed_in(), queries=2)

    def test_other_backends_get_the_user(self):
        for backend in BACKENDS[4:]:
            with self.subTest(backend), using(backend=backend):
                assert not self.loaded(self.signed_in(), queries=1)

    def test_a_backend_that_is_replaced(self):
        """As by a test of the site."""
        request = self.signed_in()
        with mock.patch.object(ModelBackend, "get_user"):
            assert not self.loaded(request, queries=1)

    def test_other_engines_load_the_session(self):
        for engine in ENGINES[1:]:
            with self.subTest(engine), using(engine):
                request = self.signed_in()

                assert not self.loaded(request, queries=0)
                assert not request.session.accessed

    def test_other_databases(self):
        request = self.signed_in()
        with mock.patch.object(connection, "vendor", "mysql"):
            assert not self.loaded(request, queries=0)

    def test_a_middleware_has_looked_at_the_session(self):
        request = self.signed_in()
        request.session.get("seen")

        assert not self.loaded(request, queries=0)

    def test_a_middleware_has_looked_at_the_user(self):
        request = self.signed_in()
        request.user.is_authenticated  # noqa: B018  (it is read)

        assert self.loaded(request, queries=0)

    def test_a_middleware_has_set_the_user(self):
        for user in (self.user, SimpleLazyObject(lambda: self.user), None):
            with self.subTest(user):
                request = self.signed_in()
                request.user = user

                assert not self.loaded(request, queries=0)

    def test_no_middleware(self):
        assert not self.loaded(RequestFactory().get("/"), queries=0)

    def test_permissions_that_do_not_look_at_the_user(self):
        class Tokens(Permissions):
            def identify(self, request):
                return Owner(None, "t:1")

        request = self.signed_in()
        with self.assertNumQueries(0):
            assert Tokens().authenticate(request).key == "t:1"

    def test_owners_are_found_this_way(self):
        request = self.signed_in()
        with CaptureQueriesContext(connection) as queries:
            assert request_key(request) == f"u:{self.user.pk}"
        assert len(queries) == 2
        assert "LIMIT" not in queries[0]["sql"]


class Router:
    """Notes the models that are read."""

    read = []

    def db_for_read(self, model, **hints):
        self.read.append((model, hints))
        return DEFAULT_DB_ALIAS


class RouterTests(SessionUserTestCase):
    def test_they_are_asked_what_django_asks_them(self):
        asked = []
        for load in (lambda request: None, load_user):
            request = request_with(new_session(data_of(self.user)).session_key)
            with override_settings(DATABASE_ROUTERS=[f"{__name__}.Router"]):
                Router.read.clear()
                load(request)

                assert request.user.pk == self.user.pk

            asked.append(list(Router.read))

        assert asked[0] == asked[1] == [(Session, {}), (User, {})]


class UserModelTests(SimpleTestCase):
    def test_djangos_own_and_a_usual_one(self):
        with isolate_apps("tests"):

            class Person(AbstractUser):
                age = models.IntegerField()
                groups = user_permissions = None

                class Meta:
                    app_label = "tests"

        assert _is_read_by_key(User)
        assert _is_read_by_key(Person)

    def test_managers_that_read_in_another_way(self):
        class Living(UserManager):
            def get_queryset(self):
                return super().get_queryset().filter(is_active=True)

        class Getting(UserManager):
            def get(self, *args, **kwargs):
                return super().get(*args, **kwargs)

        class Rows(models.QuerySet):
            pass

        for manager in (Living(), Getting(), UserManager.from_queryset(Rows)(), User.objects.db_manager("other")):
            with self.subTest(manager), isolate_apps("tests"):

                class Person(AbstractUser):
                    groups = user_permissions = None
                    objects = manager

                    class Meta:
                        app_label = "tests"

                assert not _is_read_by_key(Person)

    def test_models_that_are_built_in_another_way(self):
        with isolate_apps("tests"):

            class Person(AbstractUser):
                groups = user_permissions = None

                class Meta:
                    app_label = "tests"

                @classmethod
                def from_db(cls, *args, **kwargs):
                    return super().from_db(*args, **kwargs)

        assert not _is_read_by_key(Person)
        assert not _is_read_by_key(Session)
