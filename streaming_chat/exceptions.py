"""Error codes of the API and of replies, and the exceptions of this package.

Clients and rows have the code. The text is looked up when it is shown, in the language of its reader.
"""

from __future__ import annotations

from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

# error code -> (safe text, retryable)
# Of a request, before the first byte.
_API_ERRORS: dict[str, tuple[str | Promise, bool]] = {
    "method_not_allowed": (_("This method is not allowed here."), False),
    "not_signed_in": (_("Please sign in."), False),
    "token_required": (_("Send an access token in the header Authorization, as Bearer and the token."), False),
    "invalid_token": (_("This access token is not valid. It may have expired, or been revoked."), False),
    "csrf_failed": (_("The security token is missing or has expired. Reload the page and try again."), True),
    "forbidden": (_("You do not have permission to do that."), False),
    "blocked": (_("The staff of this site have blocked you from sending messages."), False),
    "insufficient_scope": (_("This access token may only read."), False),
    "unsupported_media_type": (_("Send JSON, with the content type application/json."), False),
    "too_large": (_("That is larger than this site accepts."), False),
    "too_slow": (_("The request did not arrive in time. Please try again."), True),
    "not_acceptable": (_("That format is not available."), False),
    "invalid": (_("The request is not valid."), False),
    "context_invalid": (_("This page could not be verified. Reload it, then send your message again."), False),
    "context_expired": (_("This page is too old. Reload it, then send your message again."), False),
    "idempotency_mismatch": (_("This client_id was already used for a different request."), False),
    "not_found": (_("This could not be found."), False),
    "conversation_full": (_("This conversation has reached its maximum length. Start a new one."), False),
    "reply_in_progress": (_("A reply is still being written in this conversation."), True),
    "already_answered": (_("This was already answered differently."), False),
    "not_waiting": (_("This is no longer waiting for an answer."), False),
    "approval_required": (_("This reply is waiting for a tool call to be allowed."), False),
    "cannot_go_on": (
        _("The reply cannot go on right now, so the answer was not saved. Try again later, or stop the reply."),
        True,
    ),
    "too_many_requests": (_("You are sending requests too fast. Try again in a moment."), True),
    "too_many_replies": (_("Too many of your replies are being written at once. Wait for one to finish."), True),
    "too_many_streams": (_("You have too many chats open at once. Close one and try again."), True),
    "too_many_regenerations": (_("You have asked for other replies too often. Try again in a minute."), True),
    "too_many_conversations": (
        _("You have too many conversations without a message. Send a message in one of them first."),
        False,
    ),
    "quota_exceeded": (_("You've reached your limit for now. Try again later."), True),
    "draining": (_("The server is restarting. Try again in a moment."), True),
    "full": (_("The server is busy. Try again in a moment."), True),
    "database_away": (_("The server cannot save messages right now. Try again in a moment."), True),
}
# Of a reply that ended.
_ENDINGS: dict[str, tuple[str | Promise, bool]] = {
    "provider_auth": (_("The model provider rejected this site's credentials."), False),
    "provider_rate_limited": (_("The model is busy. Try again in a moment."), True),
    "provider_unavailable": (_("The model cannot be reached. Try again in a moment."), True),
    "provider_timeout": (_("The model did not answer in time."), True),
    "provider_rejected": (_("The model refused this request."), False),
    "context_failed": (_("The information for this reply could not be looked up. Please try again."), True),
    "context_too_long": (_("The conversation is too long for this model."), False),
    "model_unknown": (_("This model is not available."), False),
    "provider_stall": (_("The model stopped responding."), True),
    "provider_truncated": (_("The connection to the model was lost before the reply was complete."), True),
    "provider_protocol": (_("The model sent a response that could not be read."), True),
    "provider_error": (_("The model reported an error."), True),
    "empty": (_("The model returned an empty reply."), True),
    "reasoning_only": (_("The model used up its reply for reasoning and wrote no text."), True),
    "shutdown": (_("The server was restarted while the reply was being written."), True),
    "lease_expired": (_("The server stopped while the reply was being written."), True),
    "not_saved": (_("The reply could not be saved."), True),
    "internal": (_("Something went wrong on our side."), True),
}
# Of the object of a reply that is completed.
_OUTPUT_ERRORS: dict[str, tuple[str | Promise, bool]] = {
    "output_not_json": (_("The model did not answer in the format that was asked for."), True),
    "output_invalid": (_("The model's answer has values that are not valid."), True),
    "output_truncated": (_("The model's answer is incomplete, because it reached the maximum length."), False),
    "output_refused": (_("The model refused to answer."), False),
}
ERRORS = _API_ERRORS | _ENDINGS | _OUTPUT_ERRORS
ENDING_CODES = tuple(_ENDINGS)
OUTPUT_ERRORS = tuple(_OUTPUT_ERRORS)


def error_text(code: str) -> str:
    """Return the text of a code, in the active language; an unknown code gets a general text."""
    return str(ERRORS.get(code, ERRORS["internal"])[0])


def error_object(code: str, message: str | Promise = "", *, ref: str = "", **extra: object) -> dict[str, Any]:
    """Return an error as clients get it, in JSON. message: instead of the code's text. extra: further keys."""
    text, is_retryable = ERRORS.get(code, ERRORS["internal"])
    error: dict[str, Any] = {"code": code, "message": str(message or text), "retryable": is_retryable}
    return error | ({"ref": ref} if ref else {}) | extra


class StreamingChatError(Exception):
    """Base of all errors of this package."""


class APIError(StreamingChatError):
    """A request that is answered with an error status, before the first byte.

    status: the HTTP status. code: a key of ERRORS. message: replaces the code's text. fields: what was wrong where, for
    `invalid`. retry_after: seconds. extra: further keys of the error object.

    str() is one line for logs, `422 invalid: The request is not valid. content: must not be empty`; `text` is for users.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str | Promise = "",
        *,
        fields: dict[str, str] | None = None,
        retry_after: int | None = None,
        ref: str = "",
        **extra: object,
    ) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message
        self.fields = fields
        self.retry_after = retry_after
        self.ref = ref
        self.extra = extra

    def __str__(self) -> str:
        return f"{self.status} {self.code}: {' '.join([self.text, *self.field_texts])}"

    @property
    def text(self) -> str:
        """What to show to the user, in the active language."""
        return str(self.message or error_text(self.code))

    @property
    def field_texts(self) -> list[str]:
        """What was wrong, as `field: text`."""
        return [f"{name}: {text}" for name, text in (self.fields or {}).items()]


class Unshown(str):
    """A text that no error page or error tracker shows, since its repr is empty."""

    __slots__ = ()

    def __repr__(self) -> str:
        return ""


class ProviderError(StreamingChatError):
    """A provider failed, in one of our codes.

    retryable: the same call may succeed if it is made again now. retry_after: seconds the provider asks to wait.
    status: its HTTP status. request_id: its id of the call. detail: one line for the log, never text of a message and
    never shown to users. message: the provider's own words, which may quote what users wrote; logged only if the site
    wants that.
    """

    def __init__(
        self,
        code: str,
        *,
        retryable: bool = False,
        retry_after: float | None = None,
        status: int | None = None,
        request_id: str = "",
        detail: str = "",
        message: str = "",
    ) -> None:
        super().__init__(code)
        self.code = code
        self.retryable = retryable
        self.retry_after = retry_after
        self.status = status
        self.request_id = request_id
        self.detail = detail
        self.message = Unshown(message)


class AnswerError(StreamingChatError):
    """`ask` got no complete answer.

    code: a key of ERRORS, or why the reply was stopped: user, staff or disconnect. ref: finds the error in the log.

    str() is one line for logs; `text` is for users.
    """

    def __init__(self, code: str, *, ref: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.ref = ref

    def __str__(self) -> str:
        return f"{self.code}: {self.text}"

    @property
    def text(self) -> str:
        """What to show to the user, in the active language."""
        return error_text(self.code)
