"""The app's settings as typed properties, read at each use, so that `override_settings` works.

Every scalar has one name everywhere, its unit in the name. Pluggable parts are `{"BACKEND": dotted path, "OPTIONS": {…}}`.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings

DEMO_PROVIDER = "streaming_chat.providers.demo.DemoProvider"

# Name -> default of every setting that is a string, a number, a boolean, None or a list of strings.
SCALARS: dict[str, Any] = {
    "STREAMING_CHAT_MODELS": ["demo:demo"],
    "STREAMING_CHAT_PROMPT": None,
    "STREAMING_CHAT_SYSTEM_PROMPT": "",
    "STREAMING_CHAT_ALLOW_USER_SYSTEM_PROMPT": False,
    "STREAMING_CHAT_ALLOW_ANONYMOUS": False,
    "STREAMING_CHAT_DISCONNECT_GRACE_SECONDS": None,
    "STREAMING_CHAT_STATELESS_DISCONNECT_GRACE_SECONDS": 0.0,
    "STREAMING_CHAT_FLUSH_SECONDS": 0.5,
    "STREAMING_CHAT_LEASE_SECONDS": 15.0,
    "STREAMING_CHAT_HEARTBEAT_SECONDS": 15.0,
    "STREAMING_CHAT_CONNECT_SECONDS": 5.0,
    "STREAMING_CHAT_FIRST_EVENT_SECONDS": 60.0,
    "STREAMING_CHAT_STALL_SECONDS": 30.0,
    "STREAMING_CHAT_MAX_MESSAGE_CHARS": 32_000,
    "STREAMING_CHAT_MAX_PROMPT_CHARS": 200_000,
    "STREAMING_CHAT_MAX_BODY_BYTES": 1_048_576,
    "STREAMING_CHAT_MAX_REPLY_CHARS": 1_000_000,
    "STREAMING_CHAT_MAX_REPLY_SECONDS": 600.0,
    "STREAMING_CHAT_MAX_OUTPUT_TOKENS": 4096,
    "STREAMING_CHAT_MAX_LIVE_REPLIES_PER_OWNER": 3,
    "STREAMING_CHAT_MAX_LIVE_REPLIES": 2_000,
    "STREAMING_CHAT_MAX_READERS": 10_000,
    "STREAMING_CHAT_SEND_TIMEOUT_SECONDS": 30.0,
    "STREAMING_CHAT_DRAIN_SECONDS": 10.0,
    "STREAMING_CHAT_JOURNAL_DIR": None,
    "STREAMING_CHAT_REVIEW_LABELS": [],
    "STREAMING_CHAT_REVIEW_SAMPLE_PERCENT": 5.0,
}

# Name -> default of every setting that holds pluggable parts.
BACKENDS: dict[str, Any] = {
    "STREAMING_CHAT_PROVIDERS": {"demo": {"BACKEND": DEMO_PROVIDER}},
    "STREAMING_CHAT_NOTIFIER": {"BACKEND": "streaming_chat.notifiers.postgres.PostgresNotifier"},
    "STREAMING_CHAT_PERMISSIONS": {"BACKEND": "streaming_chat.accounts.permissions.Permissions"},
    "STREAMING_CHAT_QUOTA": None,
}

# Name -> default of every setting that holds a table.
TABLES: dict[str, Any] = {"STREAMING_CHAT_PRICES": {}}

DEFAULTS = {**SCALARS, **BACKENDS, **TABLES}


def _setting(name: str) -> Any:
    return getattr(settings, name, DEFAULTS[name])


class Conf:
    """The settings, by their full names."""

    @property
    def STREAMING_CHAT_PROVIDERS(self) -> dict[str, dict[str, Any]]:
        """Alias -> provider, as `{"BACKEND": dotted path, "OPTIONS": {…}}`. Default: the demo."""
        return _setting("STREAMING_CHAT_PROVIDERS")

    @property
    def STREAMING_CHAT_MODELS(self) -> list[str]:
        """What may be asked for, `alias:model` or `alias:*`; the first is the default. Default ["demo:demo"]."""
        return _setting("STREAMING_CHAT_MODELS")

    @property
    def STREAMING_CHAT_NOTIFIER(self) -> dict[str, Any]:
        """How readers in other processes follow a reply. Default: through the database."""
        return _setting("STREAMING_CHAT_NOTIFIER")

    @property
    def STREAMING_CHAT_PERMISSIONS(self) -> dict[str, Any]:
        """Who may send, read, stop, use a model. Default: signed-in, active users, their own conversations."""
        return _setting("STREAMING_CHAT_PERMISSIONS")

    @property
    def STREAMING_CHAT_QUOTA(self) -> dict[str, Any] | None:
        """How much may be asked for. Default None: as much as anybody likes."""
        return _setting("STREAMING_CHAT_QUOTA")

    @property
    def STREAMING_CHAT_PRICES(self) -> dict[str, dict[str, Any] | None]:
        """`alias:model` or `alias:*` -> its price, in dollars per million tokens; None: not known. Default {}."""
        return _setting("STREAMING_CHAT_PRICES")

    @property
    def STREAMING_CHAT_PROMPT(self) -> str | None:
        """Dotted path of (request, conversation, messages) -> (system prompt, messages). Default None."""
        return _setting("STREAMING_CHAT_PROMPT")

    @property
    def STREAMING_CHAT_SYSTEM_PROMPT(self) -> str:
        """System prompt copied to new conversations. Default ""."""
        return _setting("STREAMING_CHAT_SYSTEM_PROMPT")

    @property
    def STREAMING_CHAT_ALLOW_USER_SYSTEM_PROMPT(self) -> bool:
        """Owners may set the system prompt of their own conversations. Default False."""
        return _setting("STREAMING_CHAT_ALLOW_USER_SYSTEM_PROMPT")

    @property
    def STREAMING_CHAT_ALLOW_ANONYMOUS(self) -> bool:
        """Visitors without an account may chat. Default False."""
        return _setting("STREAMING_CHAT_ALLOW_ANONYMOUS")

    @property
    def STREAMING_CHAT_DISCONNECT_GRACE_SECONDS(self) -> float | None:
        """How long a reply goes on without a reader, in seconds; None: to its end. Default None."""
        return _setting("STREAMING_CHAT_DISCONNECT_GRACE_SECONDS")

    @property
    def STREAMING_CHAT_STATELESS_DISCONNECT_GRACE_SECONDS(self) -> float | None:
        """The same where closing is the only stop a client has (`api/chat`, `v1/`). Default 0."""
        return _setting("STREAMING_CHAT_STATELESS_DISCONNECT_GRACE_SECONDS")

    @property
    def STREAMING_CHAT_FLUSH_SECONDS(self) -> float:
        """Longest that received text waits to be saved, in seconds. Default 0.5."""
        return _setting("STREAMING_CHAT_FLUSH_SECONDS")

    @property
    def STREAMING_CHAT_LEASE_SECONDS(self) -> float:
        """How long a worker's claim on its replies lasts, in seconds; renewed at each flush. Default 15."""
        return _setting("STREAMING_CHAT_LEASE_SECONDS")

    @property
    def STREAMING_CHAT_HEARTBEAT_SECONDS(self) -> float:
        """Silence before a stream's heartbeat, in seconds. Default 15."""
        return _setting("STREAMING_CHAT_HEARTBEAT_SECONDS")

    @property
    def STREAMING_CHAT_CONNECT_SECONDS(self) -> float:
        """Patience with a provider that does not accept the connection, in seconds. Default 5."""
        return _setting("STREAMING_CHAT_CONNECT_SECONDS")

    @property
    def STREAMING_CHAT_FIRST_EVENT_SECONDS(self) -> float:
        """Patience until a provider's first event, retries included, in seconds. Default 60."""
        return _setting("STREAMING_CHAT_FIRST_EVENT_SECONDS")

    @property
    def STREAMING_CHAT_STALL_SECONDS(self) -> float:
        """Patience with a provider that sends no byte any more, in seconds. Default 30."""
        return _setting("STREAMING_CHAT_STALL_SECONDS")

    @property
    def STREAMING_CHAT_MAX_MESSAGE_CHARS(self) -> int:
        """Longest message that is accepted, in code points. Default 32 000."""
        return _setting("STREAMING_CHAT_MAX_MESSAGE_CHARS")

    @property
    def STREAMING_CHAT_MAX_PROMPT_CHARS(self) -> int:
        """Longest history that goes to a provider, in code points. Default 200 000."""
        return _setting("STREAMING_CHAT_MAX_PROMPT_CHARS")

    @property
    def STREAMING_CHAT_MAX_BODY_BYTES(self) -> int:
        """Largest request body, in bytes. Default 1 048 576."""
        return _setting("STREAMING_CHAT_MAX_BODY_BYTES")

    @property
    def STREAMING_CHAT_MAX_REPLY_CHARS(self) -> int:
        """Longest reply, reasoning included, in code points; then it is completed as `length_cap`. Default 1 000 000."""
        return _setting("STREAMING_CHAT_MAX_REPLY_CHARS")

    @property
    def STREAMING_CHAT_MAX_REPLY_SECONDS(self) -> float:
        """Longest time a reply is written, in seconds; then it is completed as `length_cap`. Default 600."""
        return _setting("STREAMING_CHAT_MAX_REPLY_SECONDS")

    @property
    def STREAMING_CHAT_MAX_OUTPUT_TOKENS(self) -> int:
        """Most tokens asked of a provider for one reply. Default 4096."""
        return _setting("STREAMING_CHAT_MAX_OUTPUT_TOKENS")

    @property
    def STREAMING_CHAT_MAX_LIVE_REPLIES_PER_OWNER(self) -> int:
        """Replies that may be written at once for one owner, over all processes. Default 3."""
        return _setting("STREAMING_CHAT_MAX_LIVE_REPLIES_PER_OWNER")

    @property
    def STREAMING_CHAT_MAX_LIVE_REPLIES(self) -> int:
        """Replies that one process writes at once. Default 2 000."""
        return _setting("STREAMING_CHAT_MAX_LIVE_REPLIES")

    @property
    def STREAMING_CHAT_MAX_READERS(self) -> int:
        """Streams that one process serves at once. Default 10 000."""
        return _setting("STREAMING_CHAT_MAX_READERS")

    @property
    def STREAMING_CHAT_SEND_TIMEOUT_SECONDS(self) -> float:
        """A reader that takes nothing for so long is cut, in seconds. Default 30."""
        return _setting("STREAMING_CHAT_SEND_TIMEOUT_SECONDS")

    @property
    def STREAMING_CHAT_DRAIN_SECONDS(self) -> float:
        """Time that live replies have to finish at shutdown, in seconds. Default 10."""
        return _setting("STREAMING_CHAT_DRAIN_SECONDS")

    @property
    def STREAMING_CHAT_JOURNAL_DIR(self) -> str | None:
        """Folder where endings wait while the database is away; None: nowhere. Default None."""
        return _setting("STREAMING_CHAT_JOURNAL_DIR")

    @property
    def STREAMING_CHAT_REVIEW_LABELS(self) -> list[str]:
        """What reviewers may label conversations and messages with. Default []."""
        return _setting("STREAMING_CHAT_REVIEW_LABELS")

    @property
    def STREAMING_CHAT_REVIEW_SAMPLE_PERCENT(self) -> float:
        """How many of a hundred conversations are in the random sample for review, 0 to 100. Default 5."""
        return _setting("STREAMING_CHAT_REVIEW_SAMPLE_PERCENT")


conf = Conf()
