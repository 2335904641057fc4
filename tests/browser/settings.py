"""Settings of the servers that the browser tests start: a site that forbids everything inline, loopback models and a demo.

PROVIDER_URL names the loopback provider; GZIP=1 puts GZipMiddleware before everything else; CSRF_USE_SESSIONS=1 keeps the
token's secret in the session; STREAMING_CHAT_HEARTBEAT_SECONDS and STREAMING_CHAT_LEASE_SECONDS are the app's. PREFIX and
MOUNT say where the site and the chat are; HASHED names the folder that collectstatic filled, under names with hashes.
VISITOR_REPLIES=n lets visitors chat, each with so many replies a day. UNFOLD=1 puts django-unfold over the admin, and leaves
the policy out: its pages have inline scripts. HOSTILE=1 names a model and a label as may
do harm. TOOLS=1 gives the model Small the tools of tools.py; ONLY_STAFF=1 lets owners answer
none of their calls.
"""

import os
from pathlib import Path

from tests.hostile import HOSTILE
from tests.settings import *  # noqa: F403  (these settings are those of the suite and a few more)
from tests.settings import INSTALLED_APPS, MIDDLEWARE, TEMPLATES

_HERE = Path(__file__).resolve().parent

_IS_UNFOLD = bool(os.environ.get("UNFOLD"))
INSTALLED_APPS = [*(["unfold"] if _IS_UNFOLD else []), *INSTALLED_APPS]
ROOT_URLCONF = "tests.browser.urls"
MIDDLEWARE = [
    *(["django.middleware.gzip.GZipMiddleware"] if os.environ.get("GZIP") else []),
    *([] if _IS_UNFOLD else ["tests.browser.policy.strict_policy"]),
    *MIDDLEWARE[:2],
    "django.middleware.locale.LocaleMiddleware",
    *MIDDLEWARE[2:],
]
TEMPLATES[0]["DIRS"] += [_HERE / "templates", _HERE.parent.parent / "docs" / "examples"]
_CLIENTS = _HERE.parent / "clients" / "node_modules"
# For docs/examples/htmx/.
STATICFILES_DIRS = [
    _HERE / "static",
    ("htmx-2", _CLIENTS / "htmx.org" / "dist"),
    ("htmx-2-sse", _CLIENTS / "htmx-ext-sse"),
    ("htmx-4", _CLIENTS / "htmx-4" / "dist"),
]
FORCE_SCRIPT_NAME = os.environ.get("PREFIX")
MOUNT = os.environ.get("MOUNT", "chat/")
if "HASHED" in os.environ:
    STATICFILES_DIRS = STATICFILES_DIRS[:1]
    STATIC_ROOT = os.environ["HASHED"]
    STORAGES = {
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"},
    }
# The hidden input of the page is all that its script may need.
CSRF_COOKIE_HTTPONLY = True
CSRF_USE_SESSIONS = bool(os.environ.get("CSRF_USE_SESSIONS"))

STREAMING_CHAT_PROVIDERS = {
    "loopback": {
        "BACKEND": "streaming_chat.providers.openai.OpenAIProvider",
        "OPTIONS": {"api_key": "any", "base_url": os.environ.get("PROVIDER_URL")},
    },
    "demo": {"BACKEND": "streaming_chat.providers.demo.DemoProvider", "OPTIONS": {"words_per_second": 200}},
}
STREAMING_CHAT_MODELS = ["loopback:small", "loopback:large", "demo:librarian"]
STREAMING_CHAT_MODEL_OPTIONS = {
    "loopback:small": {"label": "Small", "description": "For everyday questions."},
    "loopback:large": {"label": "Large", "effort": "medium", "efforts": ["low", "medium", "high"]},
}
STREAMING_CHAT_SUGGESTIONS = [
    "Will it rain?",
    {"label": "Translate…", "text": "Translate into German: ", "send": False},
]
STREAMING_CHAT_SHARING = True
STREAMING_CHAT_HEARTBEAT_SECONDS = float(os.environ.get("STREAMING_CHAT_HEARTBEAT_SECONDS", "15"))
STREAMING_CHAT_LEASE_SECONDS = float(os.environ.get("STREAMING_CHAT_LEASE_SECONDS", "15"))
if "VISITOR_REPLIES" in os.environ:
    STREAMING_CHAT_ALLOW_ANONYMOUS = True
    STREAMING_CHAT_QUOTA = {
        "BACKEND": "streaming_chat.quotas.database.DatabaseQuota",
        "OPTIONS": {"visitor_replies": int(os.environ["VISITOR_REPLIES"])},
    }
if "TOOLS" in os.environ:
    STREAMING_CHAT_TOOLS = {"shop": "tests.browser.tools.tools"}
    STREAMING_CHAT_MODEL_OPTIONS["loopback:small"]["tools"] = ["shop"]
if "ONLY_STAFF" in os.environ:
    STREAMING_CHAT_PERMISSIONS = {"BACKEND": "tests.browser.tools.OnlyStaff"}
if "HOSTILE" in os.environ:
    # A form would send a line break as another one.
    _NAME = "".join(" ".join(HOSTILE.values()).splitlines())
    STREAMING_CHAT_MODELS.append(f"loopback:{_NAME}")
    STREAMING_CHAT_REVIEW_LABELS = [_NAME]
