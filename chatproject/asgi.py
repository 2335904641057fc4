"""The example site for ASGI servers: `uvicorn chatproject.asgi:application`."""

import os

from django.conf import settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler

from streaming_chat.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatproject.settings")

application = get_asgi_application()
if settings.PLAIN_HTTP:
    # In production the web server in front serves STATIC_ROOT. Outside the middleware, it costs the chat nothing.
    application = ASGIStaticFilesHandler(application)
