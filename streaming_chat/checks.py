"""System checks, each with an id and a hint. They read settings and classes; none asks the database or imports an SDK.

The table of ids is in docs/checks.md.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004  (Django's own name)
from django.db import connections, router
from django.utils.module_loading import import_string

from .conf import BACKENDS, DEFAULTS, SCALARS, conf
from .providers.pricing import PRICE_KEYS, as_price
from .quotas import get_quota

TAG = "streaming_chat"
_PREFIX = "STREAMING_CHAT_"

# nginx and most load balancers cut a connection that is silent for so long (proxy_read_timeout), in seconds.
_PROXY_SILENCE_SECONDS = 60
_OPTIONAL_TEXTS = {"STREAMING_CHAT_PROMPT", "STREAMING_CHAT_JOURNAL_DIR"}
_MAY_BE_ZERO = {"STREAMING_CHAT_DRAIN_SECONDS"}
# Module of a backend of ours -> the extra that brings what it imports, and what that is.
_EXTRAS = {
    "streaming_chat.providers.openai": ("openai", ("openai", "aiohttp")),
    "streaming_chat.providers.anthropic": ("anthropic", ("anthropic", "aiohttp")),
    "streaming_chat.notifiers.redis": ("redis", ("redis",)),
}
_MIDDLEWARE = {
    "SessionMiddleware": "django.contrib.sessions.middleware.SessionMiddleware",
    "AuthenticationMiddleware": "django.contrib.auth.middleware.AuthenticationMiddleware",
}


@register(TAG)
def check_names(**kwargs: Any) -> list[CheckMessage]:
    """Find names that look like settings of ours and are none (W001)."""
    unknown = sorted(name for name in dir(settings) if name.startswith(_PREFIX) and name not in DEFAULTS)
    return [Warning(f"There is no setting {name}.", hint=_nearest(name), id=f"{TAG}.W001") for name in unknown]


def _nearest(name: str) -> str:
    # Without what all names begin with, which would make any two of them near.
    near = get_close_matches(name.removeprefix(_PREFIX), [known.removeprefix(_PREFIX) for known in DEFAULTS], n=1)
    return f"Did you mean {_PREFIX}{near[0]}?" if near else "Remove it: it has no effect."


@register(TAG)
def check_values(**kwargs: Any) -> list[CheckMessage]:
    """Find scalars of a wrong type or out of their range (E001)."""
    return [
        Error(
            f"{name} must be {wanted}, got {value!r:.60}.",
            hint=f"Its default is {SCALARS[name]!r}.",
            id=f"{TAG}.E001",
        )
        for name, value, wanted in _wrong_values()
    ]


def _wrong_values() -> Iterator[tuple[str, Any, str]]:
    for name in SCALARS:
        value = getattr(conf, name)
        wanted = _wanted(name, value)
        if wanted:
            yield name, value, wanted


def _wanted(name: str, value: Any) -> str:
    """Return what the setting must be, "" when the value is that."""
    default = SCALARS[name]
    if name in _OPTIONAL_TEXTS:
        return "" if value is None or isinstance(value, str | Path) else "None or a string"
    if name.endswith("_GRACE_SECONDS"):
        return "" if value is None or _is_number(value, least=0) else "None or seconds, 0 or more"
    if name.endswith("_PERCENT"):
        return "" if _is_number(value, least=0) and value <= 100 else "a number from 0 to 100"
    if name in _MAY_BE_ZERO:
        return "" if _is_number(value, least=0) else "seconds, 0 or more"
    if isinstance(default, bool):
        return "" if isinstance(value, bool) else "True or False"
    if isinstance(default, float):
        return "" if _is_number(value, least=0) and value > 0 else "seconds, more than 0"
    if isinstance(default, int):
        return "" if _is_number(value, least=1) and isinstance(value, int) else "a whole number, 1 or more"
    if isinstance(default, list):
        return "" if _is_list_of_texts(value) else "a list of strings"
    return "" if isinstance(value, str) else "a string"


def _is_number(value: Any, *, least: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= least


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


@register(TAG)
def check_periods(**kwargs: Any) -> list[CheckMessage]:
    """Find periods that do not fit together (E002), or not what lies between here and the browser (W002)."""
    if any(name.endswith("_SECONDS") for name, _value, _wanted in _wrong_values()):
        return []
    found: list[CheckMessage] = []
    lease, flush = conf.STREAMING_CHAT_LEASE_SECONDS, conf.STREAMING_CHAT_FLUSH_SECONDS
    if lease <= 3 * flush:
        found.append(
            Error(
                f"STREAMING_CHAT_LEASE_SECONDS ({lease}) must be more than 3 times STREAMING_CHAT_FLUSH_SECONDS "
                f"({flush}): a late flush would lose the claim on replies that are being written.",
                hint=f"Set STREAMING_CHAT_LEASE_SECONDS to {max(15, math.ceil(30 * flush))}, or flush more often.",
                id=f"{TAG}.E002",
            )
        )
    if conf.STREAMING_CHAT_HEARTBEAT_SECONDS >= _PROXY_SILENCE_SECONDS:
        found.append(
            Warning(
                f"STREAMING_CHAT_HEARTBEAT_SECONDS is {conf.STREAMING_CHAT_HEARTBEAT_SECONDS}: proxies cut a stream "
                f"that is silent for {_PROXY_SILENCE_SECONDS} seconds.",
                hint="Use the default, 15.",
                id=f"{TAG}.W002",
            )
        )
    return found


@register(TAG)
def check_backends(**kwargs: Any) -> list[CheckMessage]:
    """Find pluggable parts that cannot be made: no such class (E003), no SDK (E004), unfit options (E005)."""
    found: list[CheckMessage] = []
    for where, entry, arguments in _entries():
        found.extend(_check_entry(where, entry, arguments))
    if not found and (problem := _quota_problem()):
        found.append(
            Error(
                f"STREAMING_CHAT_QUOTA cannot be made: {problem}.",
                hint="docs/settings.md says what its OPTIONS mean.",
                id=f"{TAG}.E005",
            )
        )
    hook = conf.STREAMING_CHAT_PROMPT
    if isinstance(hook, str) and (problem := _import_problem(hook)):
        found.append(_no_such_class("STREAMING_CHAT_PROMPT", problem, "a function (request, conversation, messages)"))
    return found


def _entries() -> Iterator[tuple[str, Any, tuple[str, ...]]]:
    """Yield where each backend is named, its entry, and what it is made with beside its options."""
    providers: Any = conf.STREAMING_CHAT_PROVIDERS
    if not isinstance(providers, dict):
        yield "STREAMING_CHAT_PROVIDERS", None, ()
        providers = {}
    for alias, entry in providers.items():
        yield f"STREAMING_CHAT_PROVIDERS[{alias!r}]", entry, (alias,)
    for name, default in BACKENDS.items():
        entry = getattr(conf, name)
        if name != "STREAMING_CHAT_PROVIDERS" and not (entry is None and default is None):
            yield name, entry, ()


def _check_entry(where: str, entry: Any, arguments: tuple[str, ...]) -> Iterator[CheckMessage]:
    if not isinstance(entry, dict) or not isinstance(entry.get("BACKEND"), str):
        yield _no_such_class(where, "it has no dotted path", "a dict with BACKEND, and OPTIONS where there are any")
        return
    if problem := _import_problem(entry["BACKEND"]):
        yield _no_such_class(where, problem, "the dotted path of a class in its BACKEND")
        return
    backend = import_string(entry["BACKEND"])
    if extra := _missing_extra(backend):
        yield Error(
            f"{where} needs packages that are not installed.",
            hint=f"pip install 'streaming-chat[{extra}]'",
            id=f"{TAG}.E004",
        )
    if problem := _options_problem(backend, arguments, entry.get("OPTIONS", {})):
        yield Error(
            f"{where} cannot be made: {problem}.",
            hint=f"Its OPTIONS are the keyword arguments of {entry['BACKEND']}.",
            id=f"{TAG}.E005",
        )


def _no_such_class(where: str, problem: str, wanted: str) -> CheckMessage:
    return Error(f"{where} cannot be imported: {problem}.", hint=f"It must be {wanted}.", id=f"{TAG}.E003")


def _import_problem(path: str) -> str:
    """Return why a dotted path cannot be imported, "" when it can."""
    try:
        import_string(path)
    except ImportError as error:
        return str(error).rstrip(".")
    return ""


def _missing_extra(backend: Any) -> str:
    """Return the extra that would bring what a backend of ours, or one derived from it, imports; "" for nothing."""
    for base in getattr(backend, "__mro__", ()):
        extra, modules = _EXTRAS.get(base.__module__, ("", ()))
        if any(find_spec(module) is None for module in modules):
            return extra
    return ""


def _options_problem(backend: Any, arguments: tuple[str, ...], options: Any) -> str:
    """Return why a backend does not take these options, by their names only: their values are secrets."""
    if not isinstance(options, dict):
        return "OPTIONS is no dict"
    try:
        inspect.signature(backend).bind(*arguments, **options)
    except TypeError as error:
        return str(error)
    return ""


def _quota_problem() -> str:
    """Return why the quota refuses its options; "" when it does not. To make one asks nobody for anything."""
    try:
        get_quota()
    except (TypeError, ValueError, ImportError) as error:
        return str(error).rstrip(".")
    return ""


@register(TAG)
def check_prices(**kwargs: Any) -> list[CheckMessage]:
    """Find prices that nothing can be reckoned with (E009)."""
    prices: Any = conf.STREAMING_CHAT_PRICES
    if not isinstance(prices, dict):
        return [_no_price("STREAMING_CHAT_PRICES is no dict.")]
    return [
        _no_price(f"STREAMING_CHAT_PRICES[{name!r}] is no price: {problem}.")
        for name, price in prices.items()
        if (problem := _price_problem(name, price))
    ]


def _no_price(problem: str) -> CheckMessage:
    return Error(
        problem,
        hint=(
            'Write {"alias:model": {"input": "0.25", "cached_input": "0.025", "output": "2.00"}}, in dollars per million '
            "tokens; None where the price is not known. The alias:* of a provider is for all its models."
        ),
        id=f"{TAG}.E009",
    )


def _price_problem(name: Any, price: Any) -> str:
    """Return why this is no price of a model, "" when it is one or says that there is none."""
    if not isinstance(name, str) or not all(name.partition(":")[::2]):
        return "its key is no alias:model"
    if price is None:
        return ""
    if not isinstance(price, dict):
        return f"a dict or None was wanted, got {type(price).__name__}"
    if unknown := sorted(str(key) for key in price.keys() - PRICE_KEYS):
        return f"it has {', '.join(unknown)}"
    wrong = [key for key in PRICE_KEYS if key in price and as_price(price[key]) is None]
    if missing := [key for key in ("input", "output") if key not in price]:
        return f"it lacks {', '.join(missing)}"
    return f"{wrong[0]} must be dollars, 0 or more, got {price[wrong[0]]!r:.60}" if wrong else ""


@register(TAG)
def check_models(**kwargs: Any) -> list[CheckMessage]:
    """Find models that nobody can be asked for (E006), and the lack of a default one (W003)."""
    models, providers = conf.STREAMING_CHAT_MODELS, conf.STREAMING_CHAT_PROVIDERS
    if not _is_list_of_texts(models) or not isinstance(providers, dict):
        return []
    if not models:
        return [Error("STREAMING_CHAT_MODELS is empty.", hint="Name one, as alias:model.", id=f"{TAG}.E006")]
    known = ", ".join(sorted(providers)) or "none"
    found: list[CheckMessage] = [
        Error(
            f"STREAMING_CHAT_MODELS names {model!r}, whose provider STREAMING_CHAT_PROVIDERS does not have.",
            hint=f"Write alias:model, or alias:* for any; the aliases are: {known}.",
            id=f"{TAG}.E006",
        )
        for model in models
        if model.partition(":")[0] not in providers or not model.partition(":")[2]
    ]
    if all(model.endswith(":*") for model in models):
        found.append(
            Warning(
                "STREAMING_CHAT_MODELS names no model of its own, so that a request has to.",
                hint="Put one before the wildcards: the first is the default.",
                id=f"{TAG}.W003",
            )
        )
    return found


@register(TAG)
def check_databases(**kwargs: Any) -> list[CheckMessage]:
    """Find what makes the database lose or lock (E007, W004, W005)."""
    from .db.alias import live_database
    from .models import Conversation, Feedback, LiveReply, Message, QuotaUse, ReplyEvent, Review, Verdict

    alias = live_database()
    tables = (Conversation, Message, LiveReply, ReplyEvent, Feedback, QuotaUse, Review, Verdict)
    apart = {router.db_for_write(table) for table in tables}
    found: list[CheckMessage] = []
    if len(apart) > 1:
        found.append(
            Error(
                f"A database router writes the app's tables to several databases: {', '.join(sorted(apart))}.",
                hint="A reply's ending is one transaction over all of them: send them all to one.",
                id=f"{TAG}.E007",
            )
        )
    connection = connections[alias]
    options = connection.settings_dict.get("OPTIONS", {})
    if connection.vendor == "sqlite" and str(options.get("transaction_mode")).upper() not in {"IMMEDIATE", "EXCLUSIVE"}:
        found.append(
            Warning(
                f"The database {alias!r} is SQLite and begins its transactions as readers: one that writes after "
                "reading fails at once when another wrote in between.",
                hint=f'Set DATABASES["{alias}"]["OPTIONS"]["transaction_mode"] = "IMMEDIATE".',
                id=f"{TAG}.W004",
            )
        )
    if connection.settings_dict.get("CONN_MAX_AGE") != 0:
        found.append(
            Warning(
                f"The database {alias!r} keeps connections (CONN_MAX_AGE): under ASGI each open stream has a thread of "
                "its own, which would keep one.",
                hint="Set CONN_MAX_AGE to 0, with a pool where connecting is slow; under WSGI silence this check.",
                id=f"{TAG}.W005",
            )
        )
    return found


@register(TAG)
def check_site(**kwargs: Any) -> list[CheckMessage]:
    """Find what the rest of the site's settings lack (W006, W007)."""
    found: list[CheckMessage] = [
        Warning(
            f"MIDDLEWARE has no {name}, so that nobody is signed in for the chat.",
            hint=f"Add {path}, or a STREAMING_CHAT_PERMISSIONS backend that knows who asks.",
            id=f"{TAG}.W006",
        )
        for name, path in _MIDDLEWARE.items()
        if DEFAULTS["STREAMING_CHAT_PERMISSIONS"] == conf.STREAMING_CHAT_PERMISSIONS and not _has_middleware(path)
    ]
    if not settings.USE_TZ:
        found.append(
            Warning(
                "USE_TZ is False: when the clocks go forward, every reply that is being written seems abandoned.",
                hint="Set USE_TZ to True.",
                id=f"{TAG}.W007",
            )
        )
    return found


@register(TAG)
def check_visitors(**kwargs: Any) -> list[CheckMessage]:
    """Find visitors who can have no id (E008), and what anybody may spend without a limit (W008)."""
    found: list[CheckMessage] = []
    allows_visitors = conf.STREAMING_CHAT_ALLOW_ANONYMOUS is True
    session = _MIDDLEWARE["SessionMiddleware"]
    if allows_visitors and not _has_middleware(session):
        found.append(
            Error(
                "STREAMING_CHAT_ALLOW_ANONYMOUS is on and MIDDLEWARE has no SessionMiddleware, so that visitors get 401.",
                hint=f"Add {session}: a visitor's id is kept in the session.",
                id=f"{TAG}.E008",
            )
        )
    if conf.STREAMING_CHAT_QUOTA is None and (why := _spends_freely(allows_visitors)):
        found.append(
            Warning(
                f"{why}, and there is no STREAMING_CHAT_QUOTA: nothing limits what that costs.",
                hint=(
                    'Set STREAMING_CHAT_QUOTA = {"BACKEND": "streaming_chat.quotas.database.DatabaseQuota", "OPTIONS": '
                    '{"visitor_replies": 20, "address_replies": 60, "site_replies": 2000}}, or to limits of your own.'
                ),
                id=f"{TAG}.W008",
            )
        )
    return found


def _spends_freely(allows_visitors: bool) -> str:
    """Return what lets people spend more than the site has thought of, "" for nothing."""
    if allows_visitors:
        return "STREAMING_CHAT_ALLOW_ANONYMOUS lets everybody ask"
    models = conf.STREAMING_CHAT_MODELS
    if _is_list_of_texts(models) and any(model.endswith(":*") for model in models):
        return "STREAMING_CHAT_MODELS has a wildcard, so that people may ask the dearest model there is"
    return ""


@register(TAG, deploy=True)
def check_server(**kwargs: Any) -> list[CheckMessage]:
    """Find a site that says that WSGI servers serve it, and not that ASGI servers do (W009)."""
    if getattr(settings, "ASGI_APPLICATION", None) or not settings.WSGI_APPLICATION:
        return []
    return [
        Warning(
            "The site has a WSGI_APPLICATION and no ASGI_APPLICATION. Under WSGI every open stream holds a thread, and a "
            "worker without threads (gunicorn's default) serves nobody else while it streams, for 20 seconds at a time.",
            hint=(
                "Serve it by ASGI, as `uvicorn mysite.asgi:application`, and set ASGI_APPLICATION, which says so. Else use "
                "`gunicorn --worker-class gthread --threads N`, N being more than the streams you expect, and silence this."
            ),
            id=f"{TAG}.W009",
        )
    ]


def _has_middleware(path: str) -> bool:
    """Return whether MIDDLEWARE has this class or one derived from it."""
    wanted = import_string(path)
    return any(_is_derived(candidate, wanted) for candidate in settings.MIDDLEWARE)


def _is_derived(path: str, wanted: type) -> bool:
    try:
        candidate = import_string(path)
    except ImportError:
        return False  # Django says so itself when it builds the chain.
    return isinstance(candidate, type) and issubclass(candidate, wanted)
