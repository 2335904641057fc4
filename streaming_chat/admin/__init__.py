"""The admin: lists of conversations, replies and access records, and a read-only transcript of each conversation.

Staff do not add, change or delete rows here. They can review, export and redact, and stop a live reply.
"""

from .access_records import AccessRecordAdmin
from .conversations import ConversationAdmin
from .messages import MessageAdmin

__all__ = ["AccessRecordAdmin", "ConversationAdmin", "MessageAdmin"]
