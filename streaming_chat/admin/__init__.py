"""The admin: conversations as a list, each as a read-only transcript. Nothing is added, changed or deleted here."""

from .conversations import ConversationAdmin

__all__ = ["ConversationAdmin"]
