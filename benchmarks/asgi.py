"""The benchmark's ASGI application."""

import os

from streaming_chat.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")
application = get_asgi_application()
