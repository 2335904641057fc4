"""The WSGI application that tests serve by gunicorn, in processes of its own."""

import os
from importlib import import_module

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
application = get_wsgi_application()

# Twenty seconds are long for a test; what follows when they are over is the same.
reply_answers = import_module("streaming_chat.views.api.reply_answers")
reply_answers._SINGLE_THREAD_SECONDS = float(os.environ.get("STREAMING_CHAT_TEST_STREAM_SECONDS", "20"))
