"""What the page of a search shows to reviewers in addition: the notes that match, and the verdicts on what was found."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from django.utils.safestring import SafeString

from streaming_chat.db.alias import live_database
from streaming_chat.models import ReviewNotes, Verdict
from streaming_chat.search.notes import matching_notes
from streaming_chat.search.query import PAGE_SIZE, Hit
from streaming_chat.search.tokenizer import Term

from .formats import owner_name
from .pages import transcript_url
from .review_bar import describe_verdict
from .snippets import marked_snippets


@dataclass(frozen=True)
class NotesResult:
    """Notes as the page shows them."""

    notes: ReviewNotes
    url: str
    snippets: list[SafeString] = field(repr=False)

    @property
    def owner(self) -> str:
        """The name of the conversation's owner."""
        return owner_name(self.notes.conversation)


def notes_results(parsed: Sequence[Term], site: str) -> list[NotesResult]:
    """Return the newest notes that match."""
    found = matching_notes(parsed).select_related("by", "conversation__owner")
    hidden = found.defer("words", "conversation__system_prompt", "conversation__metadata")
    return [
        NotesResult(notes, transcript_url(notes.conversation_id, site=site), marked_snippets(notes.text, parsed))
        for notes in hidden[:PAGE_SIZE]
    ]


def verdicts_on(hits: Sequence[Hit]) -> dict[int, str]:
    """Return the verdicts on the messages that were found and on their conversations, in words, by number of the hit."""
    conversations = {hit.conversation.pk for hit in hits}
    rows = Verdict.objects.using(live_database()).filter(conversation__in=conversations).select_related("by")
    by_target: dict[tuple[uuid.UUID, uuid.UUID | None], list[str]] = defaultdict(list)
    for verdict in rows.order_by("pk"):
        by_target[verdict.conversation_id, verdict.message_id].append(describe_verdict(verdict))
    return {hit.number: " · ".join(_of_hit(hit, by_target)) for hit in hits}


def _of_hit(hit: Hit, by_target: dict[tuple[uuid.UUID, uuid.UUID | None], list[str]]) -> list[str]:
    of_conversation = by_target.get((hit.conversation.pk, None), [])
    of_message = by_target.get((hit.conversation.pk, hit.message.pk), []) if hit.message else []
    return list(dict.fromkeys([*of_message, *of_conversation]))
