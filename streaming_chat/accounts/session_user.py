"""Reads the session and the user of a request by two statements that Django compiles once (db/statements.py).

Django builds the SQL of both anew for each request, which takes longer than all else that authenticates it. What is found is
put where Django would put it, after the checks that Django makes. This is done only if Django would run the same two
statements. In every other case, and if a check fails, Django does all of it as soon as the user is looked at.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model, load_backend
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import connections, router
from django.db.models import CharField, DateTimeField, Manager, Model, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.utils.functional import SimpleLazyObject, empty

from streaming_chat.db.statements import Argument, Statement

_MIDDLEWARE = "django.contrib.auth.middleware"
_BACKENDS = "django.contrib.auth.backends"
_VENDORS = ("postgresql", "sqlite")
_FROM_DB = vars(Model)["from_db"].__func__


def load_user(request: HttpRequest) -> None:
    """Load the user of a signed-in request as `request.user` would, unless only Django can."""
    if not _is_lazy(getattr(request, "user", None)) or hasattr(request, "_cached_user"):
        return
    session: Any = getattr(request, "session", None)
    if _load_session(session) and (user := _user_of(session)) is not None:
        request._cached_user = user  # type: ignore[attr-defined]  # AuthenticationMiddleware looks there


def _is_lazy(user: Any) -> bool:
    """Return whether it is what AuthenticationMiddleware sets, and has not been looked at."""
    return type(user) is SimpleLazyObject and user._wrapped is empty and user._setupfunc.__module__ == _MIDDLEWARE


def _load_session(session: Any) -> bool:
    """Load the data of a session as its `load` would; return False if only Django can, or there is none."""
    if type(session) is not SessionStore or not session.session_key or hasattr(session, "_session_cache"):
        return False
    if not (using := _database_of(session.model)):
        return False
    rows = _session_data.rows(using, session.model, key=session.session_key, now=timezone.now())
    if rows:
        session._session_cache = session.decode(rows[0][0])  # type: ignore[attr-defined]  # `load` goes there
    return bool(rows)


def _user_of(session: Any) -> Any:
    """Return the user of a session as `django.contrib.auth.get_user` would; None if only Django can, or for nobody."""
    user_id, auth_hash, path = (session.get(name) for name in (SESSION_KEY, HASH_SESSION_KEY, BACKEND_SESSION_KEY))
    if not auth_hash or path not in settings.AUTHENTICATION_BACKENDS:
        return None
    backend: Any = load_backend(path)
    user = _read_user(user_id) if _has_usual_get_user(backend) else None
    if user is None or not backend.user_can_authenticate(user):
        return None
    return user if constant_time_compare(auth_hash, user.get_session_auth_hash()) else None


def _read_user(user_id: str) -> Any:
    model: Any = get_user_model()
    using = _database_of(model)
    if not using or not _is_read_by_key(model):
        return None
    rows = _users.rows(using, model, pk=model._meta.pk.to_python(user_id))
    names = [field.attname for field in model._meta.concrete_fields]
    return model.from_db(using, names, rows[0]) if rows else None


def _database_of(model: type[Model]) -> str:
    """Return the alias of the database that Django would read from; "" if it is none that the app knows."""
    using = router.db_for_read(model)
    return using if connections[using].vendor in _VENDORS else ""


def _is_read_by_key(model: Any) -> bool:
    """Return whether `model._default_manager.get(pk=…)` reads a row of the model, and nothing else."""
    manager = model._default_manager
    has_usual_manager = (
        type(manager).get_queryset is Manager.get_queryset
        and type(manager).get is Manager.get
        and manager._queryset_class is QuerySet
        and manager._db is None
    )
    has_usual_rows = issubclass(model, AbstractBaseUser) and model.from_db.__func__ is _FROM_DB
    return has_usual_manager and has_usual_rows


def _has_usual_get_user(backend: Any) -> bool:
    """Return whether a backend gets users as ModelBackend does, which a site without the app `auth` cannot import."""
    get_user: Any = getattr(type(backend), "get_user", None)
    return getattr(get_user, "__qualname__", "") == "ModelBackend.get_user" and get_user.__module__ == _BACKENDS


@Statement
def _session_data(model: type[AbstractBaseSession]) -> QuerySet[Any, Any]:
    key, now = Argument("key", CharField()), Argument("now", DateTimeField())
    return model.objects.filter(session_key=key, expire_date__gt=now).values_list("session_data")


@Statement
def _users(model: type[Model]) -> QuerySet[Any, Any]:
    return model._default_manager.order_by().filter(pk=Argument("pk", model._meta.pk))
