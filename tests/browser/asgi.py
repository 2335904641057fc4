"""The ASGI application of the browser tests, with its static files: as they are found, or as they were collected."""

import os

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.browser.settings")
application = get_asgi_application()
if "HASHED" not in os.environ:
    application = ASGIStaticFilesHandler(application)
