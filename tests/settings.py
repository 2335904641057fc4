"""Settings of the test suite: SQLite in a file, or the database that DATABASE_URL names."""

import os
import tempfile
from pathlib import Path

import environ

BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = "for tests only"
DEBUG = False
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]

SQLITE_FILE = Path(tempfile.gettempdir()) / f"streaming_chat_{os.getpid()}.sqlite3"
DATABASES = {"default": environ.Env().db_url("DATABASE_URL", default=f"sqlite:///{SQLITE_FILE}")}

if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # In memory, a second thread finds every table locked; the process id keeps runs side by side apart.
    DATABASES["default"]["TEST"] = {"NAME": str(SQLITE_FILE)}
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        # Tests need no durability: synchronous=OFF leaves out every fsync.
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;",
    }
else:
    DATABASES["default"]["TEST"] = {"NAME": f"test_streaming_chat_{os.getpid()}"}

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
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
ROOT_URLCONF = "tests.urls"
ASGI_APPLICATION = "tests.asgi.application"

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "/"
# MD5 makes a user in 0.1 ms, where PBKDF2 takes 200.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STATIC_URL = "static/"
USE_TZ = True
