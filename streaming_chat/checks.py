"""System checks, each with an id and a hint. They create the configured backends, and use neither network nor database.

The table of ids is in docs/checks.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004  (Django's own name)
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router
from django.shortcuts import resolve_url
from django.urls import NoReverseMatch, Resolver404, get_script_prefix, resolve
from django.utils.module_loading import import_string

from . import encoders, outputs
from .accounts.permissions import Permissions
from .backends import Backend, create
from .conf import BACKEND, DEFAULT_QUOTA, SETTINGS, STRINGS, TABLE, conf
from .notifiers import Notifier
from .providers.base import Provider
from .providers.model_names import is_model_name
from .providers.model_options import problem_with
from .providers.pricing import PRICE_KEYS, as_price
from .quotas import Quota

TAG = "streaming_chat"
_PREFIX = "STREAMING_CHAT_"

# nginx and most load balancers close a connection that is silent for this long (proxy_read_timeout), in seconds.
_PROXY_SILENCE_SECONDS = 60
_MIDDLEWARE = {
    "SessionMiddleware": "django.contrib.sessions.middleware.SessionMiddleware",
    "AuthenticationMiddleware": "django.contrib.auth.middleware.AuthenticationMiddleware",
}


@register(TAG)
def check_names(**kwargs: Any) -> list[CheckMessage]:
    """Find names that begin like the app's settings and do not exist (W001)."""
    unknown = sorted(name for name in dir(settings) if name.startswith(_PREFIX) and name not in SETTINGS)
    return [Warning(f"There is no setting {name}.", hint=_nearest(name), id=f"{TAG}.W001") for name in unknown]


def _nearest(name: str) -> str:
    # Without the prefix, which would make any two names similar.
    near = get_close_matches(name.removeprefix(_PREFIX), [known.removeprefix(_PREFIX) for known in SETTINGS], n=1)
    return f"Did you mean {_PREFIX}{near[0]}?" if near else "Remove it: it has no effect."


@register(TAG)
def check_telemetry(**kwargs: Any) -> list[CheckMessage]:
    """Find telemetry without its package (E011)."""
    if not conf.STREAMING_CHAT_TELEMETRY or find_spec("opentelemetry"):
        return []
    hint = 'Install it: pip install "streaming-chat[otel]".'
    return [Error("STREAMING_CHAT_TELEMETRY needs the package opentelemetry-api.", hint=hint, id=f"{TAG}.E011")]


@register(TAG)
def check_values(**kwargs: Any) -> list[CheckMessage]:
    """Find values of a wrong type or out of their range (E001); check_backends and check_prices check the dicts."""
    return [
        Error(
            f"{name} must be {setting.kind.wanted}, got {getattr(conf, name)!r:.60}.",
            hint=f"Its default is {setting.default!r}.",
            id=f"{TAG}.E001",
        )
        for name, setting in SETTINGS.items()
        if setting.kind.type is not dict and not _is_valid(name)
    ]


def _is_valid(name: str) -> bool:
    return SETTINGS[name].kind.accepts(getattr(conf, name))


@register(TAG)
def check_intervals(**kwargs: Any) -> list[CheckMessage]:
    """Find intervals that do not fit together (E002), or do not fit the proxies before the site (W002)."""
    if not all(_is_valid(f"{_PREFIX}{name}_SECONDS") for name in ("LEASE", "FLUSH", "HEARTBEAT")):
        return []
    return [*_check_lease(), *_check_heartbeat()]


def _check_lease() -> Iterator[CheckMessage]:
    lease, flush = conf.STREAMING_CHAT_LEASE_SECONDS, conf.STREAMING_CHAT_FLUSH_SECONDS
    if lease <= 3 * flush:
        yield Error(
            f"STREAMING_CHAT_LEASE_SECONDS ({lease}) must be more than 3 times STREAMING_CHAT_FLUSH_SECONDS ({flush}):"
            " otherwise a worker whose flush is late loses the lease on replies in progress.",
            hint=f"Set STREAMING_CHAT_LEASE_SECONDS to {max(15, math.ceil(30 * flush))}, or flush more often.",
            id=f"{TAG}.E002",
        )


def _check_heartbeat() -> Iterator[CheckMessage]:
    heartbeat = conf.STREAMING_CHAT_HEARTBEAT_SECONDS
    if heartbeat >= _PROXY_SILENCE_SECONDS:
        yield Warning(
            f"STREAMING_CHAT_HEARTBEAT_SECONDS is {heartbeat}: proxies close a stream that is silent for"
            f" {_PROXY_SILENCE_SECONDS} seconds.",
            hint="Use the default, 15.",
            id=f"{TAG}.W002",
        )


@register(TAG)
def check_backends(**kwargs: Any) -> list[CheckMessage]:
    """Create every configured backend, and find those that are not usable (E003) or cannot be created (E004)."""
    found = [message for name, base in _BASES.items() for message in _check_setting(name, base)]
    for name, wanted in _FUNCTIONS.items():
        hook = getattr(conf, name)
        if isinstance(hook, str) and (problem := _import_problem(hook)):
            found.append(_not_usable(name, problem, wanted))
    return found


_FUNCTIONS = {
    "STREAMING_CHAT_PROMPT": "a function (request, conversation, messages)",
    "STREAMING_CHAT_CONTEXT": "a function (run, turns)",
}


_BASES: dict[str, type[Backend]] = {
    "STREAMING_CHAT_PROVIDERS": Provider,
    "STREAMING_CHAT_NOTIFIER": Notifier,
    "STREAMING_CHAT_QUOTA": Quota,
    "STREAMING_CHAT_PERMISSIONS": Permissions,
}


def _check_setting(name: str, base: type[Backend]) -> Iterator[CheckMessage]:
    """Check the one backend of a setting, or each of its backends by alias."""
    value: Any = getattr(conf, name)
    if SETTINGS[name].kind is not TABLE:
        if not (value is None and SETTINGS[name].kind.accepts(None)):
            yield from _check_entry(name, value, base)
    elif isinstance(value, dict):
        for alias, entry in value.items():
            yield from _check_entry(f"{name}[{alias!r}]", entry, base, alias)
    else:
        yield _not_usable(name, f"it is {type(value).__name__}", "a dict of backends by alias")


def _check_entry(where: str, entry: Any, base: type[Backend], *arguments: str) -> Iterator[CheckMessage]:
    if not BACKEND.accepts(entry) or not isinstance(entry.get("BACKEND"), str):
        yield _not_usable(where, "it has no dotted path", "a dict with BACKEND, and OPTIONS where there are any")
    elif problem := _import_problem(entry["BACKEND"]):
        yield _not_usable(where, problem, "a dict whose BACKEND is the dotted path of a class")
    elif not isinstance(entry.get("OPTIONS", {}), dict):
        yield _not_created(where, "OPTIONS is not a dict", entry)
    else:
        yield from _check_created(where, entry, base, *arguments)


def _check_created(where: str, entry: dict[str, Any], base: type[Backend], *arguments: str) -> Iterator[CheckMessage]:
    try:
        backend = create(entry, *arguments)
    except (TypeError, ValueError, ImportError, ImproperlyConfigured) as error:
        yield _not_created(where, str(error).rstrip("."), entry)
    except Exception as error:  # noqa: BLE001  (the message of an unknown error may show a secret option)
        yield _not_created(where, f"its constructor raised {type(error).__name__}", entry)
    else:
        if isinstance(backend, base):
            yield from backend.check()
        else:
            yield _not_usable(where, f"{entry['BACKEND']} is of another kind", f"a subclass of {base.__name__}")


def _not_usable(where: str, problem: str, wanted: str) -> CheckMessage:
    return Error(f"{where} is not usable: {problem}.", hint=f"It must be {wanted}.", id=f"{TAG}.E003")


def _not_created(where: str, problem: str, entry: dict[str, Any]) -> CheckMessage:
    return Error(
        f"{where} cannot be created: {problem}.",
        hint=f"Its OPTIONS are the keyword arguments of {entry['BACKEND']}; docs/settings.md describes them.",
        id=f"{TAG}.E004",
    )


def _import_problem(path: str) -> str:
    """Return why a dotted path cannot be imported, "" if it can."""
    try:
        import_string(path)
    except ImportError as error:
        return str(error).rstrip(".")
    return ""


@register(TAG)
def check_prices(**kwargs: Any) -> list[CheckMessage]:
    """Find prices that cannot be used (E005)."""
    prices: Any = conf.STREAMING_CHAT_PRICES
    if not isinstance(prices, dict):
        return [_invalid_price("STREAMING_CHAT_PRICES is not a dict.")]
    return [
        _invalid_price(f"STREAMING_CHAT_PRICES[{name!r}] is not a price: {problem}.")
        for name, price in prices.items()
        if (problem := _price_problem(name, price))
    ]


def _invalid_price(problem: str) -> CheckMessage:
    return Error(
        problem,
        hint=(
            'Write {"alias:model": {"input": "0.25", "cached_input": "0.025", "output": "2.00"}}, in dollars per million '
            "tokens, or None for a price that is not known. alias:* applies to all other models of a provider."
        ),
        id=f"{TAG}.E005",
    )


def _price_problem(name: Any, price: Any) -> str:
    """Return why this is not the price of a model, "" if it is one or None."""
    if not is_model_name(name):
        return "its key is not alias:model"
    if price is None:
        return ""
    if not isinstance(price, dict):
        return f"it must be a dict or None, got {type(price).__name__}"
    if unknown := sorted(str(key) for key in price.keys() - PRICE_KEYS):
        return f"it has the unknown key {', '.join(unknown)}"
    if missing := [key for key in ("input", "output") if key not in price]:
        return f"it has no {' and no '.join(missing)}"
    wrong = [key for key in PRICE_KEYS if key in price and as_price(price[key]) is None]
    return f"{wrong[0]} must be dollars, 0 or more, got {price[wrong[0]]!r:.60}" if wrong else ""


@register(TAG)
def check_model_options(**kwargs: Any) -> list[CheckMessage]:
    """Find options of models that cannot be used (E009)."""
    table: Any = conf.STREAMING_CHAT_MODEL_OPTIONS
    if not isinstance(table, dict):
        return [_invalid_options("STREAMING_CHAT_MODEL_OPTIONS is not a dict.")]
    return [
        _invalid_options(f"STREAMING_CHAT_MODEL_OPTIONS[{name!r}] cannot be used: {problem}.")
        for name, options in table.items()
        if (problem := _options_problem(name, options))
    ]


def _invalid_options(problem: str) -> CheckMessage:
    return Error(
        problem,
        hint='Write {"alias:model": {"label": "Fast", "effort": "low"}}; docs/settings.md describes the options.',
        id=f"{TAG}.E009",
    )


def _options_problem(name: Any, options: Any) -> str:
    if not is_model_name(name):
        return "its key is not alias:model"
    if problem := problem_with(options):
        return problem
    unknown = [model for model in options.get("fallback", ()) if not _has_provider(model)]
    return f"STREAMING_CHAT_PROVIDERS has no provider for the fallback {unknown[0]!r}" if unknown else ""


@register(TAG)
def check_outputs(**kwargs: Any) -> list[CheckMessage]:
    """Find objects that no reply can be (E010)."""
    table: Any = conf.STREAMING_CHAT_OUTPUTS
    if not isinstance(table, dict):
        return [_invalid_output("STREAMING_CHAT_OUTPUTS is not a dict.")]
    return [
        _invalid_output(f"STREAMING_CHAT_OUTPUTS[{name!r}] cannot be used: {problem}.")
        for name, path in table.items()
        if (problem := outputs.problem_with(name, path))
    ]


def _invalid_output(problem: str) -> CheckMessage:
    return Error(problem, hint='Write {"recipe": "shop.schemas.Recipe"}.', id=f"{TAG}.E010")


@register(TAG)
def check_encoders(**kwargs: Any) -> list[CheckMessage]:
    """Find formats that cannot be used (E012)."""
    table: Any = conf.STREAMING_CHAT_ENCODERS
    if not isinstance(table, dict):
        return [_invalid_encoder("STREAMING_CHAT_ENCODERS is not a dict.")]
    return [
        _invalid_encoder(f"STREAMING_CHAT_ENCODERS[{name!r}] cannot be used: {problem}.")
        for name, path in table.items()
        if (problem := encoders.problem_with(name, path))
    ]


def _invalid_encoder(problem: str) -> CheckMessage:
    return Error(problem, hint='Write {"plain": "mysite.chat.PlainTextEncoder"}.', id=f"{TAG}.E012")


@register(TAG)
def check_models(**kwargs: Any) -> list[CheckMessage]:
    """Find models without a provider (E006), and a list without a default model (W003)."""
    models, providers = conf.STREAMING_CHAT_MODELS, conf.STREAMING_CHAT_PROVIDERS
    if not STRINGS.accepts(models) or not isinstance(providers, dict):
        return []
    if not models:
        return [Error("STREAMING_CHAT_MODELS is empty.", hint="Add a model, as alias:model.", id=f"{TAG}.E006")]
    found: list[CheckMessage] = [_unknown_model(model) for model in models if not _has_provider(model)]
    title_model = conf.STREAMING_CHAT_TITLE_MODEL
    if title_model and not (_has_provider(str(title_model)) and is_model_name(title_model)):
        found.append(_unknown_model(str(title_model), "STREAMING_CHAT_TITLE_MODEL"))
    if all(model.endswith(":*") for model in models):
        found.append(
            Warning(
                "STREAMING_CHAT_MODELS has only wildcards, so there is no default model and each request must name one.",
                hint="Put a model before the wildcards.",
                id=f"{TAG}.W003",
            )
        )
    return found


def _has_provider(model: str) -> bool:
    alias, _, name = model.partition(":")
    return bool(name) and alias in conf.STREAMING_CHAT_PROVIDERS


def _unknown_model(model: str, setting: str = "STREAMING_CHAT_MODELS") -> CheckMessage:
    known = ", ".join(sorted(conf.STREAMING_CHAT_PROVIDERS)) or "none"
    return Error(
        f"{setting} has {model!r}, but STREAMING_CHAT_PROVIDERS has no such provider.",
        hint=f"Write alias:model, or alias:* for all its models. The aliases are: {known}.",
        id=f"{TAG}.E006",
    )


@register(TAG)
def check_databases(**kwargs: Any) -> list[CheckMessage]:
    """Find database settings that lose data, fail or hold connections (E007, W004, W005)."""
    from .db.alias import live_database

    alias = live_database()
    return [*_check_routers(), *_check_transaction_mode(alias), *_check_persistent_connections(alias)]


def _check_routers() -> Iterator[CheckMessage]:
    from .models import Conversation, Feedback, LiveReply, Message, ProviderState, QuotaUse, ReplyEvent, Review, Verdict

    tables = (Conversation, Message, LiveReply, ReplyEvent, ProviderState, Feedback, QuotaUse, Review, Verdict)
    databases = {router.db_for_write(table) for table in tables}
    if len(databases) > 1:
        yield Error(
            f"A database router writes the app's tables to several databases: {', '.join(sorted(databases))}.",
            hint="Write them all to one: a reply and its ending are saved in one transaction.",
            id=f"{TAG}.E007",
        )


def _check_transaction_mode(alias: str) -> Iterator[CheckMessage]:
    connection = connections[alias]
    mode = str(connection.settings_dict.get("OPTIONS", {}).get("transaction_mode")).upper()
    if connection.vendor == "sqlite" and mode not in {"IMMEDIATE", "EXCLUSIVE"}:
        yield Warning(
            f"The SQLite database {alias!r} uses deferred transactions: one that reads and then writes fails if another"
            " connection has written in between.",
            hint=f'Set DATABASES["{alias}"]["OPTIONS"]["transaction_mode"] = "IMMEDIATE".',
            id=f"{TAG}.W004",
        )


def _check_persistent_connections(alias: str) -> Iterator[CheckMessage]:
    if connections[alias].settings_dict.get("CONN_MAX_AGE") != 0:
        yield Warning(
            f"The database {alias!r} has persistent connections (CONN_MAX_AGE): under ASGI each open stream has a thread of"
            " its own, which keeps one.",
            hint="Serve the site by streaming_chat.asgi, whose requests share a few threads, or by WSGI, and silence this"
            " check. Otherwise, set CONN_MAX_AGE to 0, with a connection pool if connecting is slow.",
            id=f"{TAG}.W005",
        )


@register(TAG)
def check_site(**kwargs: Any) -> list[CheckMessage]:
    """Find settings of Django that the chat needs (W006, W007)."""
    has_default_permissions = SETTINGS["STREAMING_CHAT_PERMISSIONS"].default == conf.STREAMING_CHAT_PERMISSIONS
    found: list[CheckMessage] = [
        Warning(
            f"MIDDLEWARE has no {name}, so no user is signed in for the chat.",
            hint=f"Add {path}, or a STREAMING_CHAT_PERMISSIONS backend that identifies users in another way.",
            id=f"{TAG}.W006",
        )
        for name, path in _MIDDLEWARE.items()
        if has_default_permissions and not _has_middleware(path)
    ]
    if not settings.USE_TZ:
        found.append(
            Warning(
                "USE_TZ is False: when daylight saving time starts, the lease of every reply in progress expires.",
                hint="Set USE_TZ to True.",
                id=f"{TAG}.W007",
            )
        )
    return found


@register(TAG)
def check_login(**kwargs: Any) -> list[CheckMessage]:
    """Find a LOGIN_URL that leads nowhere where people must sign in (W011)."""
    has_default_permissions = SETTINGS["STREAMING_CHAT_PERMISSIONS"].default == conf.STREAMING_CHAT_PERMISSIONS
    if conf.STREAMING_CHAT_ALLOW_ANONYMOUS is True or not has_default_permissions or _has_login_page():
        return []
    return [
        Warning(
            f"Nobody can sign in: the site has no page at LOGIN_URL ({settings.LOGIN_URL!r}), to which the chat redirects.",
            hint=(
                'Add path("accounts/", include("django.contrib.auth.urls")) and a template registration/login.html, or set'
                ' LOGIN_URL to your login page; "admin:login" admits staff. If another server has that page, silence this'
                " check. STREAMING_CHAT_ALLOW_ANONYMOUS lets people chat without an account."
            ),
            id=f"{TAG}.W011",
        )
    ]


def _has_login_page() -> bool:
    """Return whether the site's URLs have LOGIN_URL, or it is on another site."""
    if not getattr(settings, "ROOT_URLCONF", None):
        return True  # There are no pages at all.
    try:
        address = urlsplit(resolve_url(settings.LOGIN_URL))
    except NoReverseMatch:
        return False
    path = "/" + address.path.removeprefix(get_script_prefix()).lstrip("/")
    # LocaleMiddleware redirects to the second, where the URLs begin with the language.
    return bool(address.netloc) or _is_page(path) or _is_page(f"/{settings.LANGUAGE_CODE}{path}")


def _is_page(path: str) -> bool:
    try:
        resolve(path)
    except Resolver404:
        return False
    return True


@register(TAG)
def check_visitors(**kwargs: Any) -> list[CheckMessage]:
    """Find visitors who cannot get an id (E008), and spending without a limit (W008)."""
    found: list[CheckMessage] = []
    session = _MIDDLEWARE["SessionMiddleware"]
    if conf.STREAMING_CHAT_ALLOW_ANONYMOUS is True and not _has_middleware(session):
        found.append(
            Error(
                "STREAMING_CHAT_ALLOW_ANONYMOUS is True and MIDDLEWARE has no SessionMiddleware, so visitors get 401.",
                hint=f"Add {session}: a visitor's id is kept in the session.",
                id=f"{TAG}.E008",
            )
        )
    if spending := _unlimited_spending():
        problem, hint = spending
        found.append(Warning(f"{problem}: the cost has no limit.", hint=hint, id=f"{TAG}.W008"))
    return found


def _unlimited_spending() -> tuple[str, str] | None:
    """Return which setting lets people spend more than the site has planned for, and what to do about it."""
    quota = conf.STREAMING_CHAT_QUOTA
    if quota is None and conf.STREAMING_CHAT_ALLOW_ANONYMOUS is True:
        problem = "STREAMING_CHAT_ALLOW_ANONYMOUS lets everybody chat, and STREAMING_CHAT_QUOTA is None"
        return problem, "Remove STREAMING_CHAT_QUOTA: its default limits visitors. Or choose limits of your own."
    models = conf.STREAMING_CHAT_MODELS
    wildcards = [model for model in models if model.endswith(":*")] if STRINGS.accepts(models) else []
    if quota not in (None, DEFAULT_QUOTA) or not wildcards:
        return None
    limit = {**DEFAULT_QUOTA, "OPTIONS": {"owner_tokens": 1_000_000}}
    problem = (
        f"STREAMING_CHAT_MODELS has {wildcards[0]!r}, so users without a quota can choose its most expensive model"
    )
    setting = f"STREAMING_CHAT_QUOTA = {limit}"
    return problem, (
        f"Name the models instead, or set {setting}. If they cost nothing, as on your own server, silence this check."
    )


@register(TAG, deploy=True)
def check_server(**kwargs: Any) -> list[CheckMessage]:
    """Find a site that is set up for WSGI servers only (W009)."""
    if getattr(settings, "ASGI_APPLICATION", None) or not settings.WSGI_APPLICATION:
        return []
    return [
        Warning(
            "The site has a WSGI_APPLICATION and no ASGI_APPLICATION. Under WSGI every open stream occupies a thread, and a"
            " worker without threads (gunicorn's default) serves no other request while it streams, for up to 20 seconds.",
            hint=(
                "Serve the site by ASGI, as `uvicorn mysite.asgi:application`, and set ASGI_APPLICATION. Otherwise use "
                "`gunicorn --worker-class gthread --threads N`, where N is more than the streams you expect, and silence "
                "this check."
            ),
            id=f"{TAG}.W009",
        )
    ]


def _has_middleware(path: str) -> bool:
    """Return whether MIDDLEWARE has this class or a subclass of it."""
    wanted = import_string(path)
    return any(_is_subclass(candidate, wanted) for candidate in settings.MIDDLEWARE)


def _is_subclass(path: str, wanted: type) -> bool:
    try:
        candidate = import_string(path)
    except ImportError:
        return False  # Django reports it when it builds the chain.
    return isinstance(candidate, type) and issubclass(candidate, wanted)
