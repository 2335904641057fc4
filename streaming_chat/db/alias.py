"""The database that replies are written to. Every module that saves or follows replies names it explicitly."""

from __future__ import annotations

from functools import cache

from django.apps import apps
from django.db import router
from django.db.models import Model


def live_database() -> str:
    """Return the alias of the database that live replies are written to, and must be read from."""
    return router.db_for_write(_live_reply())


@cache
def _live_reply() -> type[Model]:
    # Models import this module.
    return apps.get_model("streaming_chat", "LiveReply")
