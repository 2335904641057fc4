"""The admin: lists of conversations, replies, access records and tokens, and a read-only transcript of each conversation.

Of these rows, staff add and delete access tokens only. They can review, export and redact, and stop a live reply.
"""

from .access_records import AccessRecordAdmin
from .access_tokens import AccessTokenAdmin
from .conversations import ConversationAdmin
from .messages import MessageAdmin

__all__ = ["AccessRecordAdmin", "AccessTokenAdmin", "ConversationAdmin", "MessageAdmin"]
