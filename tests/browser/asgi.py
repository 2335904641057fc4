"""The ASGI application of the browser tests, with its static files: as they are found, or as they were collected."""

import os

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application
from django.core.signals import request_started

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.browser.settings")
application = get_asgi_application()
if "HASHED" not in os.environ:
    application = ASGIStaticFilesHandler(application)


def _forget_content_types(**kwargs: object) -> None:
    """The flush after each test gives the content types other ids, and only the test's own process notices."""
    from django.contrib.contenttypes.models import ContentType

    ContentType.objects.clear_cache()


request_started.connect(_forget_content_types)
