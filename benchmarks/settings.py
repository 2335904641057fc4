"""A site with the middleware of the yardstick's own Django peer, so that the two differ in the app alone.

Its database is PostgreSQL where DATABASE_URL says so, else SQLite. BENCH_SETTINGS: further settings, in JSON.
"""

import json
import os

import environ

SECRET_KEY = "for the benchmark only"
DEBUG = False
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "benchmarks.urls"
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "streaming_chat",
    "chatproject",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
if "DATABASE_URL" in os.environ:
    DATABASES = {"default": environ.Env().db_url("DATABASE_URL")}
    DATABASES["default"]["OPTIONS"] = {"application_name": os.environ["BENCH_NAME"]}
else:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ["BENCH_DATABASE"],
            "OPTIONS": {
                "timeout": 30,
                "init_command": "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL;",
                "transaction_mode": "IMMEDIATE",
            },
        }
    }
# As docs/deployment.md has it for streaming_chat.asgi.
DATABASES["default"] |= {"CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True}
STREAMING_CHAT_PROVIDERS = {
    "openai": {
        "BACKEND": "streaming_chat.providers.openai.OpenAIProvider",
        "OPTIONS": {"api_key": "x", "base_url": os.environ["BENCH_PROVIDER"]},
    }
}
STREAMING_CHAT_MODELS = ["openai:gpt-4o"]
# One user sends all requests.
STREAMING_CHAT_MAX_LIVE_REPLIES_PER_OWNER = 10_000
globals().update(json.loads(os.environ.get("BENCH_SETTINGS", "{}")))
