"""The admin: lists of conversations, replies, share links, access records, tokens and tools, and a transcript of each
conversation.

Of these rows, staff add and delete access tokens only. They can review, export and redact, stop a live reply, and revoke a
link.
"""

from .access_records import AccessRecordAdmin
from .access_tokens import AccessTokenAdmin
from .conversations import ConversationAdmin
from .messages import MessageAdmin
from .share_links import ShareLinkAdmin
from .tool_lists import ToolListAdmin

__all__ = [
    "AccessRecordAdmin",
    "AccessTokenAdmin",
    "ConversationAdmin",
    "MessageAdmin",
    "ShareLinkAdmin",
    "ToolListAdmin",
]
