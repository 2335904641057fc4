"""A shop whose models look up orders and pages, refund, and search the tickets of another server. With its tests:

cd docs/examples/tools
export DJANGO_SETTINGS_MODULE=settings PYTHONPATH=.
django-admin test
django-admin migrate --run-syncdb
django-admin createsuperuser --username ana --email ana@example.com
python ticket_server.py &
OPENAI_API_KEY=… uvicorn --factory streaming_chat.asgi:get_asgi_application

Then sign in at http://127.0.0.1:8000/admin/, and chat at http://127.0.0.1:8000/chat/.
"""

import os

SECRET_KEY = os.environ.get("SECRET_KEY", "for this example only")
DEBUG = True
ROOT_URLCONF = "urls"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("SQLITE_FILE", "example.sqlite3"),
        "OPTIONS": {"transaction_mode": "IMMEDIATE"},
        # In memory, another thread would find the tables locked.
        "TEST": {"NAME": os.environ.get("SQLITE_TEST_FILE", "test.sqlite3")},
    }
}
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "shop",
    "streaming_chat",
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
STATIC_URL = "static/"
LOGIN_URL = "admin:login"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

TICKETS_URL = os.environ.get("TICKETS_URL", "http://127.0.0.1:8765/mcp")
TICKETS_TOKEN = os.environ.get("TICKETS_TOKEN", "secret")

STREAMING_CHAT_PROVIDERS = {
    "openai": {
        "BACKEND": "streaming_chat.providers.openai.OpenAIProvider",
        "OPTIONS": {"api_key": os.environ.get("OPENAI_API_KEY", "missing")},
    }
}
STREAMING_CHAT_MODELS = ["openai:gpt-5-mini"]
STREAMING_CHAT_TOOLS = {
    "orders": "shop.chat.orders",
    "pages": "shop.chat.pages",
    "tickets": "shop.chat.tickets",
}
STREAMING_CHAT_MODEL_OPTIONS = {"openai:*": {"tools": ["orders", "pages", "tickets"]}}
