"""Checks the settings of the database that replies are saved in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004  (Django's own name)
from django.db import connections, router

from .tag import TAG


@register(TAG)
def check_databases(**kwargs: Any) -> list[CheckMessage]:
    """Find database settings that lose data, fail or hold connections (E007, W004, W005)."""
    from streaming_chat.db.alias import live_database

    alias = live_database()
    return [*_check_routers(), *_check_transaction_mode(alias), *_check_persistent_connections(alias)]


def _check_routers() -> Iterator[CheckMessage]:
    from streaming_chat.models import (
        Conversation,
        Feedback,
        LiveReply,
        Message,
        ProviderState,
        QuotaUse,
        ReplyEvent,
        Review,
        ToolList,
        Verdict,
    )

    tables = (
        *(Conversation, Message, LiveReply, ReplyEvent, ProviderState),
        *(Feedback, QuotaUse, Review, Verdict, ToolList),
    )
    databases = {router.db_for_write(table) for table in tables}
    if len(databases) > 1:
        yield Error(
            f"A database router writes the app's tables to several databases: {', '.join(sorted(databases))}.",
            hint="Write them all to one: a reply and its ending are saved in one transaction.",
            id=f"{TAG}.E007",
        )


def _check_transaction_mode(alias: str) -> Iterator[CheckMessage]:
    connection = connections[alias]
    mode = str(connection.settings_dict.get("OPTIONS", {}).get("transaction_mode")).upper()
    if connection.vendor == "sqlite" and mode not in {"IMMEDIATE", "EXCLUSIVE"}:
        yield Warning(
            f"The SQLite database {alias!r} uses deferred transactions: one that reads and then writes fails if another"
            " connection has written in between.",
            hint=f'Set DATABASES["{alias}"]["OPTIONS"]["transaction_mode"] = "IMMEDIATE".',
            id=f"{TAG}.W004",
        )


def _check_persistent_connections(alias: str) -> Iterator[CheckMessage]:
    if connections[alias].settings_dict.get("CONN_MAX_AGE") != 0:
        yield Warning(
            f"The database {alias!r} has persistent connections (CONN_MAX_AGE): under ASGI each open stream has a thread of"
            " its own, which keeps one.",
            hint="Serve the site by streaming_chat.asgi, whose requests share a few threads, or by WSGI, and silence this"
            " check. Otherwise, set CONN_MAX_AGE to 0, with a connection pool if connecting is slow.",
            id=f"{TAG}.W005",
        )
