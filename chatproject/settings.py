"""Settings of the example site, all from the environment.

Every STREAMING_CHAT_* setting except for dicts is read from the environment variable of the same name: lists are separated
by commas, and `none` means None. The sections below read all other variables.
"""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

from streaming_chat import conf as chat_conf

env = environ.Env()
BASE_DIR = Path(__file__).resolve().parent.parent


# Security

DEBUG = env.bool("DEBUG", default=False)
# Plain HTTP without DEBUG, for a demo on this machine or in a private network.
INSECURE_HTTP = env.bool("INSECURE_HTTP", default=False)
PLAIN_HTTP = DEBUG or INSECURE_HTTP

SECRET_KEY = env.str("SECRET_KEY", default="django-insecure-for-DEBUG-only" if DEBUG else "")
if not SECRET_KEY:
    raise ImproperlyConfigured("SECRET_KEY must be set in the environment, to 50 random characters or more.")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"] if PLAIN_HTTP else [])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

# Behind a proxy that ends TLS, uvicorn takes the scheme from X-Forwarded-Proto (--proxy-headers, on by default).
SECURE_SSL_REDIRECT = not PLAIN_HTTP
SECURE_HSTS_SECONDS = 0 if PLAIN_HTTP else 31_536_000
SESSION_COOKIE_SECURE = not PLAIN_HTTP
CSRF_COOKIE_SECURE = not PLAIN_HTTP
SILENCED_SYSTEM_CHECKS = [
    "security.W005",  # HSTS for subdomains: they are not this site's to decide about.
    "security.W021",  # HSTS preload: as W005, and it is hard to take back.
    "streaming_chat.W005",  # Connections that are kept: asgi.py has few threads.
    "streaming_chat.W015",  # A tool that visitors could call: change_name refuses them itself.
]


# Application

INSTALLED_APPS = [
    "chatproject",
    "streaming_chat",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "chatproject.middleware.content_security_policy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "chatproject.urls"
ASGI_APPLICATION = "chatproject.asgi.application"
WSGI_APPLICATION = "chatproject.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "home"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

USE_TZ = True
TIME_ZONE = env.str("TIME_ZONE", default="UTC")
LANGUAGE_CODE = env.str("LANGUAGE_CODE", default="en")
LOCALE_PATHS = [BASE_DIR / "chatproject" / "locale"]

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    # At DEBUG it logs the whole context of a page, with what people wrote.
    "loggers": {"django.template": {"level": "INFO"}},
    "root": {"handlers": ["stderr"], "level": env.str("LOG_LEVEL", default="INFO")},
}


# Database

DATABASES = {"default": env.db_url("DATABASE_URL", default=f"sqlite:///{BASE_DIR / 'db.sqlite3'}")}
if "ENGINE" not in DATABASES["default"]:
    raise ImproperlyConfigured("DATABASE_URL must be postgres://user:password@host/name or sqlite:///file.")
# The threads that requests share (asgi.py) keep their connections, and replace one that the database has closed.
DATABASES["default"] = {"CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True, **DATABASES["default"]}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        # Otherwise a transaction that reads and then writes fails if another connection has written in between.
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        # WAL lets readers continue during a write, and survives a crash with NORMAL. secure_delete overwrites erased text.
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA secure_delete=ON;",
    }


# Chat

# Alias, which is also the start of the variables of key and address; provider; and the model to use while MODELS is unset.
_KEYED_PROVIDERS = [
    ("openai", "streaming_chat.providers.openai_responses.OpenAIResponsesProvider", "gpt-6-luna"),
    ("anthropic", "streaming_chat.providers.anthropic.AnthropicProvider", "claude-sonnet-5-5"),
]

# At another address than OpenAI's own: more servers know chat completions than know its Responses API.
_COMPATIBLE_WITH_OPENAI = "streaming_chat.providers.openai.OpenAIProvider"


_DEMO_MODELS = {
    "demo:demo": {"label": _("Demo"), "description": _("Replies at once. No model is asked.")},
    "demo:thinker": {
        "label": _("Demo that thinks"),
        "description": _("Shows some reasoning first, as much as you choose."),
        "effort": "medium",
        "efforts": ["low", "medium", "high"],
    },
    "demo:librarian": {"label": _("Demo with sources"), "description": _("Lists what it cites below the reply.")},
}


def scalar_settings() -> dict[str, Any]:
    """Return the STREAMING_CHAT_* settings that the environment has, except for dicts."""
    readers = {bool: env.bool, int: env.int, float: env.float, list: env.list, str: env.str}
    return {
        name: _scalar(name, readers[setting.kind.type])
        for name, setting in chat_conf.SETTINGS.items()
        if name in env.ENVIRON and setting.kind.type in readers
    }


def _scalar(name: str, read: Callable[[str], Any]) -> Any:
    """Read one variable; None for `none`."""
    if env.str(name).strip().lower() == "none":
        return None
    try:
        return read(name)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a number, got {env.str(name)!r}.") from None


def configured_providers() -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return the providers whose key is set, and one model of each. The demo, which needs no key, is the last.

    Without a key, there are several models of the demo, so that there is something to choose.
    """
    providers: dict[str, dict[str, Any]] = {}
    models = []
    for alias, backend, model in _KEYED_PROVIDERS:
        if api_key := env.str(f"{alias.upper()}_API_KEY", default=""):
            base_url = env.str(f"{alias.upper()}_BASE_URL", default="") or None
            path = _COMPATIBLE_WITH_OPENAI if alias == "openai" and base_url else backend
            providers[alias] = {"BACKEND": path, "OPTIONS": {"api_key": api_key, "base_url": base_url}}
            models.append(f"{alias}:{model}")
    return {**providers, "demo": {"BACKEND": "streaming_chat.providers.demo.DemoProvider"}}, [
        *models,
        *(["demo:demo"] if models else _DEMO_MODELS),
    ]


def configured_notifier() -> dict[str, Any]:
    """Return how processes learn of each other's replies: through Redis, PostgreSQL's notifications, or by polling."""
    if redis_url := env.str("REDIS_URL", default=""):
        return {"BACKEND": "streaming_chat.notifiers.redis.RedisNotifier", "OPTIONS": {"url": redis_url}}
    # A direct connection, even if DATABASE_URL goes through pgbouncer.
    if listen_dsn := env.str("LISTEN_DSN", default=""):
        return {
            "BACKEND": "streaming_chat.notifiers.postgres.PostgresNotifier",
            "OPTIONS": {"listen_dsn": listen_dsn},
        }
    return {"BACKEND": "streaming_chat.notifiers.polling.PollingNotifier"}


def configured_quota() -> dict[str, Any]:
    """Return the quota, with each limit per day that has a variable, like QUOTA_VISITOR_REPLIES."""
    names = [f"{scope}_{unit}" for scope in ("owner", "visitor", "address", "site") for unit in ("replies", "tokens")]
    limits = {name: _limit(f"QUOTA_{name.upper()}") for name in names if env.str(f"QUOTA_{name.upper()}", default="")}
    return {**chat_conf.DEFAULT_QUOTA, "OPTIONS": limits} if limits else chat_conf.DEFAULT_QUOTA


def _limit(name: str) -> int | None:
    """Read a whole number; None for `none`."""
    text = env.str(name).strip()
    if text.lower() == "none":
        return None
    if not text.isdecimal():
        raise ImproperlyConfigured(f"{name} must be a whole number or none, got {text!r}.")
    return int(text)


STREAMING_CHAT_PROVIDERS, STREAMING_CHAT_MODELS = configured_providers()
# pydantic comes with the SDKs of the providers, and with the extra `output`.
STREAMING_CHAT_OUTPUTS = {"recipe": "chatproject.schemas.Recipe"} if find_spec("pydantic") else {}
STREAMING_CHAT_TOOLS = {"site": "chatproject.tools.tools"} if find_spec("pydantic") else {}
STREAMING_CHAT_MODEL_OPTIONS = {
    **_DEMO_MODELS,
    "demo:demo": _DEMO_MODELS["demo:demo"] | {"tools": [*STREAMING_CHAT_TOOLS]},
}
STREAMING_CHAT_NOTIFIER = configured_notifier()
STREAMING_CHAT_QUOTA = configured_quota()
STREAMING_CHAT_SUGGESTIONS = [
    _("Show me a table of how a reply can end."),
    _("Think before you answer: why do replies stream?"),
    _("Change my name."),
    {"label": _("A long reply"), "text": _("Write something long, so that I can stop it.")},
    {"label": _("Some code…"), "text": _("Write code that "), "send": False},
]
globals().update(scalar_settings())
