"""The admin: lists of conversations, replies, feedback, share links, access records, tokens and tools, and transcripts.

Of these rows, staff add and delete access tokens only. They can review, export and redact, stop a live reply, answer a tool
call, and revoke a link.
"""

from .access_records import AccessRecordAdmin
from .access_tokens import AccessTokenAdmin
from .call_queue import ToolCallAdmin
from .conversations import ConversationAdmin
from .feedback import FeedbackAdmin
from .messages import MessageAdmin
from .share_links import ShareLinkAdmin
from .tool_lists import ToolListAdmin

__all__ = [
    "AccessRecordAdmin",
    "AccessTokenAdmin",
    "ConversationAdmin",
    "FeedbackAdmin",
    "MessageAdmin",
    "ShareLinkAdmin",
    "ToolCallAdmin",
    "ToolListAdmin",
]
