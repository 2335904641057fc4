"""The example site for WSGI servers: `gunicorn chatproject.wsgi`. Every open stream holds a worker thread there."""

import os

from django.conf import settings
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatproject.settings")

application = get_wsgi_application()
if settings.PLAIN_HTTP:
    application = StaticFilesHandler(application)
