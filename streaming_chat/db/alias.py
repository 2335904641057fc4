"""The database that replies are written to. Every module that saves or follows replies names it explicitly."""

from __future__ import annotations

from django.apps import apps
from django.db import router


def live_database() -> str:
    """Return the alias of the database that live replies are written to, and must be read from."""
    return router.db_for_write(apps.get_model("streaming_chat", "LiveReply"))
