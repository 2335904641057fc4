"""The shape of a conversation: which message follows which."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from streaming_chat.models import Conversation, Message, MessageQuerySet


@dataclass(frozen=True)
class Siblings:
    """Where a message stands among the messages after the same one. index: starts at 1."""

    index: int
    count: int
    previous: uuid.UUID | None
    next: uuid.UUID | None


class Tree:
    """Messages by their parents, oldest first."""

    def __init__(self, links: Iterable[tuple[uuid.UUID, uuid.UUID | None]]) -> None:
        """links: (message, parent) of every message, oldest first."""
        self.parents = dict(links)
        self.children: dict[uuid.UUID | None, list[uuid.UUID]] = defaultdict(list)
        for message, parent in self.parents.items():
            self.children[parent].append(message)

    def __contains__(self, message: object) -> bool:
        return message in self.parents

    def newest(self) -> uuid.UUID | None:
        """Return the message that was made last."""
        return next(reversed(self.parents), None)

    def path_to(self, message: uuid.UUID | None) -> list[uuid.UUID]:
        """Return the messages from the root to this one; none for an unknown one."""
        left = dict(self.parents)
        path = []
        while message in left:
            path.append(message)
            message = left.pop(message)
        return path[::-1]

    def path_through(self, message: uuid.UUID) -> list[uuid.UUID]:
        """Return the path to a message and on, by the newest each time, to a leaf."""
        path = self.path_to(message)
        while followers := self.children.get(path[-1]):
            path.append(followers[-1])
        return path

    def siblings(self, message: uuid.UUID) -> Siblings:
        """Return where a message stands among those with the same parent."""
        all_of_them = self.children[self.parents[message]]
        at = all_of_them.index(message)
        before = all_of_them[at - 1] if at else None
        after = all_of_them[at + 1] if at + 1 < len(all_of_them) else None
        return Siblings(at + 1, len(all_of_them), before, after)


def messages_of(conversation: Conversation) -> MessageQuerySet:
    """Return all messages, from the database that the conversation came from: a replica may not have the last yet."""
    return Message.objects.using(conversation._state.db).filter(conversation_id=conversation.pk)
