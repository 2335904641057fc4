"""The example site for ASGI servers: `uvicorn chatproject.asgi:application`."""

import gc
import os

from django.conf import settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler

from streaming_chat.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatproject.settings")

application = get_asgi_application()
# A full pass of the collector walks every open reply: 0.25 s at 1,000, every 11 s, and it frees nothing. Rarer passes took
# the 99th percentile of a token's way from 342 to 5 ms (benchmarks/open_replies.py).
gc.set_threshold(20_000, 50, 100)
if settings.PLAIN_HTTP:
    # In production the web server in front serves STATIC_ROOT. Outside the middleware, it costs the chat nothing.
    application = ASGIStaticFilesHandler(application)
