"""The admin: conversations as a list, each as a read-only transcript, and who of the staff read which.

Nothing is added, changed or deleted here; a reply that is being written can be stopped.
"""

from .accesses import AccessRecordAdmin
from .conversations import ConversationAdmin
from .messages import MessageAdmin

__all__ = ["AccessRecordAdmin", "ConversationAdmin", "MessageAdmin"]
