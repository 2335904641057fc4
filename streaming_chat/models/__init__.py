"""The app's tables. The order in which their rows are locked is in `conversations`."""

from .access_tokens import AccessToken
from .alerts import Alert
from .audit import AccessedOwner, AccessRecord
from .conversations import (
    METADATA_KEYS,
    Conversation,
    ConversationQuerySet,
    Message,
    MessageQuerySet,
    Status,
    usage_of,
)
from .owners import BlockedOwner, DailyOwnerUsage
from .quotas import QuotaUse
from .replies import (
    NOBODY,
    RECOVERED,
    Feedback,
    LiveReply,
    LiveReplyQuerySet,
    ProviderState,
    ReplyEvent,
    ReplyEventQuerySet,
)
from .reviews import Review, ReviewNotes, ReviewState, Verdict
from .search import SearchEntry
from .share_links import ShareLink
from .tool_calls import ToolCall
from .tool_lists import ToolList
from .usage import DailyToolUsage, DailyUsage, ModelTitle

__all__ = [
    "METADATA_KEYS",
    "NOBODY",
    "RECOVERED",
    "AccessRecord",
    "AccessToken",
    "AccessedOwner",
    "Alert",
    "BlockedOwner",
    "Conversation",
    "ConversationQuerySet",
    "DailyOwnerUsage",
    "DailyToolUsage",
    "DailyUsage",
    "Feedback",
    "LiveReply",
    "LiveReplyQuerySet",
    "Message",
    "MessageQuerySet",
    "ModelTitle",
    "ProviderState",
    "QuotaUse",
    "ReplyEvent",
    "ReplyEventQuerySet",
    "Review",
    "ReviewNotes",
    "ReviewState",
    "SearchEntry",
    "ShareLink",
    "Status",
    "ToolCall",
    "ToolList",
    "Verdict",
    "usage_of",
]
