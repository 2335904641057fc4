"""A Django Ninja site with the chat beside it. The site's tokens are good for both:

cd docs/examples/ninja
export DJANGO_SETTINGS_MODULE=settings PYTHONPATH=.
django-admin migrate
django-admin createsuperuser --username ana --email ana@example.com
uvicorn --factory streaming_chat.asgi:get_asgi_application
curl --json '{"username": "ana", "password": "…"}' http://127.0.0.1:8000/api/token
curl --header "Authorization: Bearer $TOKEN" http://127.0.0.1:8000/api/me
curl --header "Authorization: Bearer $TOKEN" --json '{"content": "Hi"}' http://127.0.0.1:8000/chat/api/messages
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
    }
}
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
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

STREAMING_CHAT_PERMISSIONS = {"BACKEND": "permissions.SitePermissions"}
