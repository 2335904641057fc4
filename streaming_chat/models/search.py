"""The table of the search index."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

_LEXEME = re.compile(r"'([^']*)':([\d,]+)")


class WordsField(models.Field):  # type: ignore[type-arg]  # Generic in the stubs only.
    """A list of words: a tsvector on PostgreSQL, elsewhere text with spaces between them."""

    def db_type(self, connection: Any) -> str:
        """Return the type of the column."""
        return "tsvector" if connection.vendor == "postgresql" else "text"

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> str:
        """Return the database's value for a list of words."""
        return vector(value) if connection.vendor == "postgresql" else " ".join(value)

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> list[str]:
        """Return the list; on PostgreSQL, what its limits have left of it."""
        return from_vector(value) if connection.vendor == "postgresql" else value.split()

    def to_python(self, value: Any) -> Any:
        """Return a list from a list or its text."""
        return value.split() if isinstance(value, str) else value

    def value_to_string(self, obj: Any) -> str:
        """Return the text of the list."""
        return " ".join(self.value_from_object(obj))


class SearchEntry(models.Model):
    """The words of a message, or of a conversation's title if message is null.

    The id begins with the millisecond of the text's own id, so entries are in the order of their texts, also those that a
    rebuild adds later. "Newest first" and "of the last 90 days" need no other column.
    """

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

    class Meta:
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


def vector(words: Sequence[str]) -> str:
    """Return words as a tsvector. PostgreSQL limits positions to 16 383, and keeps 256 of each word."""
    places: dict[str, list[int]] = {}
    for position, word in enumerate(words, 1):
        places.setdefault(word, []).append(position)
    return " ".join(f"'{word}':{','.join(map(str, at))}" for word, at in places.items())


def from_vector(text: str) -> list[str]:
    """Return the words of a tsvector, in order."""
    found = [(int(at), word) for word, places in _LEXEME.findall(text) for at in places.split(",")]
    return [word for _at, word in sorted(found)]
