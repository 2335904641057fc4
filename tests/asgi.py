"""The ASGI application that tests serve by uvicorn, in a thread or in a process of its own."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
application = get_asgi_application()

if seconds := os.environ.get("STREAMING_CHAT_TEST_ENDING_SECONDS"):
    # How long the ending of a reply is tried to be saved: no setting, since nobody but a test should change it.
    from streaming_chat.engine import ending_watch

    ending_watch.ENDING_SECONDS = float(seconds)
