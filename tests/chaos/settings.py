"""Settings of the checker's workers: the suite's, and what the checker says in the environment."""

import os

from tests.settings import *  # noqa: F403  (they are the suite's)
from tests.settings import DATABASES

DATABASES["default"]["OPTIONS"] = {
    **DATABASES["default"].get("OPTIONS", {}),
    "application_name": os.environ.get("CHAOS_WORKER", "checker"),
    "connect_timeout": 5,
}

_PROVIDER = {
    "BACKEND": "streaming_chat.providers.openai.OpenAIProvider",
    "OPTIONS": {"api_key": "none", "base_url": os.environ.get("CHAOS_PROVIDER", "http://127.0.0.1:1/v1")},
}
# The models of the second one have tools.
STREAMING_CHAT_PROVIDERS = {"openai": _PROVIDER, "tools": _PROVIDER}
STREAMING_CHAT_MODELS = ["openai:any", "openai:*", "tools:*"]
STREAMING_CHAT_TOOLS = {"ledger": "tests.chaos.tools.tools"}
STREAMING_CHAT_MODEL_OPTIONS = {"tools:*": {"tools": ["ledger"]}}
STREAMING_CHAT_APPROVAL_SECONDS = float(os.environ.get("CHAOS_APPROVAL", "6"))
_NOTIFIERS = {
    "polling": {"BACKEND": "streaming_chat.notifiers.polling.PollingNotifier"},
    "notify": {
        "BACKEND": "streaming_chat.notifiers.postgres.PostgresNotifier",
        "OPTIONS": {"listen_dsn": os.environ.get("DATABASE_URL", "")},
    },
    "redis": {
        "BACKEND": "streaming_chat.notifiers.redis.RedisNotifier",
        "OPTIONS": {"url": os.environ.get("REDIS_URL", "")},
    },
}
STREAMING_CHAT_NOTIFIER = _NOTIFIERS[os.environ.get("CHAOS_NOTIFIER", "polling")]
STREAMING_CHAT_LEASE_SECONDS = float(os.environ.get("CHAOS_LEASE", "15"))
# Fewer than an owner's clients want, so that the cap is met.
STREAMING_CHAT_MAX_LIVE_REPLIES_PER_OWNER = 3
STREAMING_CHAT_HEARTBEAT_SECONDS = 3
STREAMING_CHAT_DRAIN_SECONDS = 3
if journal := os.environ.get("CHAOS_JOURNAL"):
    STREAMING_CHAT_JOURNAL_DIR = journal
