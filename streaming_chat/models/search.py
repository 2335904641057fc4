"""Tables of the search index."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

_LEXEME = re.compile(r"'([^']*)':([\d,]+)")


class WordsField(models.Field):  # type: ignore[type-arg]  # Generic in the stubs only.
    """A list of words: a tsvector on PostgreSQL, elsewhere text that spaces divide."""

    def db_type(self, connection: Any) -> str:
        """Return the type of its column."""
        return "tsvector" if connection.vendor == "postgresql" else "text"

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> str:
        """Return what the database is given for a list of words."""
        return vector(value) if connection.vendor == "postgresql" else " ".join(value)

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> list[str]:
        """Return the list again; on PostgreSQL what its limits have left of it."""
        return from_vector(value) if connection.vendor == "postgresql" else value.split()

    def to_python(self, value: Any) -> Any:
        """Take a list, or the text of one."""
        return value.split() if isinstance(value, str) else value

    def value_to_string(self, obj: Any) -> str:
        """Return the text of the list."""
        return " ".join(self.value_from_object(obj))


class SearchEntry(models.Model):
    """The words of a message, or of a conversation's title where message is null.

    Its number begins with the millisecond in which the text's id was made, so that the order of numbers is that of time,
    also for what a rebuild adds later; "newest first" and "of the last 90 days" then need no other column.
    """

    id = models.BigAutoField(primary_key=True)
    conversation = models.ForeignKey(
        "streaming_chat.Conversation", models.CASCADE, verbose_name=_("conversation"), related_name="search_entries"
    )
    message = models.OneToOneField(
        "streaming_chat.Message",
        models.CASCADE,
        verbose_name=_("message"),
        null=True,
        blank=True,
        related_name="search_entry",
    )
    words = WordsField(_("words"))

    objects: models.Manager[SearchEntry] = models.Manager()

    class Meta:
        app_label = "streaming_chat"
        verbose_name = _("search entry")
        verbose_name_plural = _("search entries")
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(
                fields=["conversation"], condition=Q(message=None), name="streaming_chat_title_entry_once"
            ),
        )

    def __str__(self) -> str:
        return f"Search entry {self.pk}"


def vector(found: Sequence[str]) -> str:
    """Return a tsvector's text. PostgreSQL counts positions to 16 383, and keeps 256 of a word."""
    places: dict[str, list[int]] = {}
    for position, word in enumerate(found, 1):
        places.setdefault(word, []).append(position)
    return " ".join(f"'{word}':{','.join(map(str, at))}" for word, at in places.items())


def from_vector(text: str) -> list[str]:
    """Return the words of a tsvector's text, in order."""
    found = [(int(at), word) for word, places in _LEXEME.findall(text) for at in places.split(",")]
    return [word for _at, word in sorted(found)]
