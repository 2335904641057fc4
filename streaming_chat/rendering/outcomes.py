"""How a reply ended, in words that need no knowledge of this app."""

from __future__ import annotations

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from streaming_chat.exceptions import ERRORS, error_text
from streaming_chat.models import Message, Status

# (status, end reason) -> words. What broke is said by its error code.
_WORDS: dict[tuple[str, str], Promise] = {
    (Status.STREAMING, ""): gettext_lazy("The reply is being written now."),
    (Status.COMPLETED, "stop"): gettext_lazy("The model finished the reply."),
    (Status.COMPLETED, "length"): gettext_lazy("The model reached its limit of tokens; the reply ends there."),
    (Status.COMPLETED, "content_filter"): gettext_lazy("The provider's content filter ended the reply."),
    (Status.COMPLETED, "tool_calls"): gettext_lazy("The model ended the reply by calling a tool."),
    (Status.COMPLETED, "length_cap"): gettext_lazy("This site's limit of length or time ended the reply."),
    (Status.STOPPED, "user"): gettext_lazy("The owner stopped the reply."),
    (Status.STOPPED, "staff"): gettext_lazy("Staff stopped the reply."),
    (Status.STOPPED, "disconnect"): gettext_lazy("Nobody was following any more, so the reply was stopped."),
}


def in_words(message: Message) -> str:
    """Return a sentence on how a reply ended; an ending of a newer version gets the name of its status."""
    if words := _WORDS.get((message.status, message.end_reason)):
        return str(words)
    if message.status == Status.FAILED:
        return _("The reply failed before anything arrived. {error}").format(error=_error(message)).rstrip()
    if message.status == Status.INTERRUPTED:
        return _("The reply broke off; what had arrived is kept. {error}").format(error=_error(message)).rstrip()
    return _("The reply is {status}.").format(status=message.get_status_display())


def _error(message: Message) -> str:
    code = message.error_code or message.end_reason
    return error_text(code) if code in ERRORS else ""
