"""The app's settings: each is declared once, with its default, what it may be, and one sentence.

The declarations give the typed access (`conf.STREAMING_CHAT_…`), the system checks (checks/) and the tables of
docs/settings.md (docs/tables.py). Code reads a setting at each use: it costs no more than an attribute, and
`override_settings` works.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, NamedTuple, Self, TypeVar, overload

from django.conf import settings
from django.utils.functional import Promise

T = TypeVar("T")


class Kind(NamedTuple):
    """What a value may be. type: the Python type that is read from text. wanted: type, unit and range in words."""

    type: type
    wanted: str
    accepts: Callable[[Any], bool]


def number(unit: str, minimum: float = 0, maximum: float = math.inf, *, above: bool = False) -> Kind:
    """Return the kind of finite numbers in a range. above: the minimum itself is excluded."""

    def accepts(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return False
        return minimum <= value <= maximum and not (above and value == minimum)

    limits = f"more than {minimum}" if above else f"{minimum} or more"
    return Kind(float, f"{unit}, {limits if maximum == math.inf else f'{minimum} to {maximum}'}", accepts)


def whole_number(unit: str, minimum: int = 1) -> Kind:
    """Return the kind of whole numbers from a minimum on."""
    kind = number(unit, minimum)
    return Kind(int, f"a whole number of {kind.wanted}", lambda value: isinstance(value, int) and kind.accepts(value))


def optional(kind: Kind) -> Kind:
    """Return the kind that also accepts None."""
    return Kind(kind.type, f"None or {kind.wanted}", lambda value: value is None or kind.accepts(value))


def some_of(*choices: str) -> Kind:
    """Return the kind of lists of some of these strings, or of none."""

    def accepts(value: Any) -> bool:
        return isinstance(value, list | tuple) and all(item in choices for item in value)

    return Kind(list, f"a list of some of {', '.join(f'`{choice}`' for choice in choices)}", accepts)


def _is_list_of_strings(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


def _is_list_of_suggestions(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(_is_text(item) or _is_suggestion(item) for item in value)


def _is_suggestion(value: Any) -> bool:
    if not isinstance(value, dict) or not value.keys() <= {"text", "label", "send"}:
        return False
    texts = (value.get("text"), value.get("label", value.get("text")))
    return all(_is_text(text) for text in texts) and isinstance(value.get("send", True), bool)


def _is_text(value: Any) -> bool:
    # Whether a text that is translated lazily is empty is not known before it is translated.
    return isinstance(value, Promise) or (isinstance(value, str) and value != "")


FLAG = Kind(bool, "True or False", lambda value: isinstance(value, bool))
STRING = Kind(str, "a string", lambda value: isinstance(value, str))
STRINGS = Kind(list, "a list of strings", _is_list_of_strings)
SUGGESTIONS = Kind(
    list, "a list of strings, or of dicts with `text` and optionally `label` and `send`", _is_list_of_suggestions
)
PATH = Kind(str, "a path", lambda value: isinstance(value, str | Path))
SECONDS = number("seconds")
POSITIVE_SECONDS = number("seconds", above=True)
# The entries of these two have checks of their own.
BACKEND = Kind(dict, "a backend", lambda value: isinstance(value, dict))
TABLE = Kind(dict, "a dict", lambda value: isinstance(value, dict))

SETTINGS: dict[str, Setting[Any]] = {}


class Setting(Generic[T]):
    """One setting, as an attribute of `conf` with its full name. meaning: the text of its row in docs/settings.md."""

    name: str
    section: str

    def __init__(self, default: T, kind: Kind, meaning: str) -> None:
        self.default = default
        self.kind = kind
        self.meaning = meaning

    def __set_name__(self, owner: type, name: str) -> None:
        self.name, self.section = name, owner.__name__
        SETTINGS[name] = self

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: object, owner: type) -> Self | T:
        if instance is None:
            return self
        return vars(instance).setdefault(self.name, getattr(settings, self.name, self.default))


Entry = dict[str, Any]  # {"BACKEND": dotted path, "OPTIONS": {…}}

DEMO_PROVIDER = "streaming_chat.providers.demo.DemoProvider"
_PROVIDERS: dict[str, Entry] = {"demo": {"BACKEND": DEMO_PROVIDER}}
_NOTIFIER: Entry = {"BACKEND": "streaming_chat.notifiers.polling.PollingNotifier"}
# Its options limit visitors alone.
DEFAULT_QUOTA: Entry = {"BACKEND": "streaming_chat.quotas.database.DatabaseQuota"}
_PERMISSIONS: Entry = {"BACKEND": "streaming_chat.accounts.permissions.Permissions"}


def gettext_noop(text: str) -> str:
    """Mark a text for translation. Django's function reads the settings, which may not be configured at an import."""
    return text


# With bounded repetitions: a text of a million letters must not take longer than its length demands.
_PATTERNS = {
    gettext_noop("E-mail addresses"): r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}",
    gettext_noop("Card numbers"): r"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)",
    gettext_noop("Telephone numbers"): r"(?<![\w+])\+?\d(?:[ ()/.-]{0,2}\d){6,14}(?!\w)",
}


class Backends:
    STREAMING_CHAT_PROVIDERS = Setting(_PROVIDERS, TABLE, "The model APIs: a backend for each alias.")
    STREAMING_CHAT_NOTIFIER = Setting(_NOTIFIER, BACKEND, "Tells other processes that a reply has more text.")
    STREAMING_CHAT_QUOTA = Setting[Entry | None](
        DEFAULT_QUOTA,
        optional(BACKEND),
        "Limits the replies and tokens of a day, by default those of visitors. None: no limit. See [Quotas](#quotas).",
    )
    STREAMING_CHAT_PERMISSIONS = Setting(_PERMISSIONS, BACKEND, "Decides who may read, send, stop and use a model.")
    STREAMING_CHAT_ENCODERS = Setting[dict[str, str]](
        {},
        TABLE,
        "Formats of your own for streams: the dotted path of an encoder for each name of `?format=`. See [Write your own"
        " encoder](write-your-own/encoder.md).",
    )
    STREAMING_CHAT_TELEMETRY = Setting(
        False, FLAG, "Makes spans and metrics for [OpenTelemetry](deployment.md#opentelemetry), without any content."
    )


class Models:
    STREAMING_CHAT_MODELS = Setting(
        ["demo:demo"],
        STRINGS,
        "The models that users may choose, as `alias:model`; `alias:*` allows all models of a provider, by a name of up to"
        " 100 characters of `A-Z a-z 0-9 . _ : / @ + -`. The first that is not a wildcard is the default.",
    )
    STREAMING_CHAT_PRICES = Setting[dict[str, dict[str, Any] | None]](
        {}, TABLE, "The price of each `alias:model` or `alias:*`. See [Costs](#costs)."
    )
    STREAMING_CHAT_MODEL_OPTIONS = Setting[dict[str, dict[str, Any]]](
        {}, TABLE, "The options of each `alias:model` or `alias:*`. See [Options of a model](#options-of-a-model)."
    )
    STREAMING_CHAT_LOG_PROVIDER_MESSAGES = Setting(
        False,
        FLAG,
        "The log also has the message of a provider's error, which may quote what users wrote. Without it, the log has the"
        " error's type, code and parameter. With `DEBUG`, it always has the message.",
    )
    STREAMING_CHAT_OUTPUTS = Setting[dict[str, str]](
        {},
        TABLE,
        "The objects that clients may ask for: the dotted path of a pydantic model for each name. See"
        " [structured output](structured-output.md).",
    )
    STREAMING_CHAT_TITLE_MODEL = Setting(
        "",
        STRING,
        "The model that gives a conversation its title after the first reply, as `alias:model`. Users need not be able to"
        " choose it. Empty: the title is the beginning of the first message. See [Titles](#titles).",
    )
    STREAMING_CHAT_SYSTEM_PROMPT = Setting("", STRING, "The system prompt, which is copied to each new conversation.")
    STREAMING_CHAT_PROMPT = Setting[str | None](
        None,
        optional(STRING),
        "The dotted path of a function `(request, conversation, messages)` that returns the system prompt and the messages"
        " to send. It runs before each reply, and the response waits for it. It may raise `APIError`.",
    )
    STREAMING_CHAT_CONTEXT = Setting[str | None](
        None,
        optional(STRING),
        "The dotted path of a function `(run, turns)` that looks up documents for a reply. It runs when the response has"
        " begun, so it may be slow. See [Context](context.md).",
    )


class ToolSettings:
    STREAMING_CHAT_TOOLS = Setting[dict[str, str]](
        {},
        TABLE,
        "The tools that models may call: the dotted path of a toolbox for each name. A model gets the toolboxes that"
        " `tools` in its [options](#options-of-a-model) names. See [Tools](tools.md).",
    )
    STREAMING_CHAT_TOOL_SECONDS = Setting(
        30.0, POSITIVE_SECONDS, "The longest time that a call may take, unless the tool has a `timeout` of its own."
    )
    STREAMING_CHAT_MAX_STEPS = Setting(
        8,
        whole_number("calls to the provider"),
        "How often a model may be asked for one reply: once, and once more after each round of tool calls.",
    )
    STREAMING_CHAT_MAX_TOOL_OUTPUT_CHARS = Setting(
        20_000,
        whole_number("code points"),
        "The longest result of a call. A longer one is cut off, and the model is told.",
    )
    STREAMING_CHAT_APPROVAL_SECONDS = Setting(
        86_400.0, POSITIVE_SECONDS, "How long a call waits for a person's approval; then it is denied."
    )


class Page:
    STREAMING_CHAT_SUGGESTIONS = Setting[list[Any]](
        [],
        SUGGESTIONS,
        "What an empty chat suggests to ask. See [Suggestions](#suggestions).",
    )
    STREAMING_CHAT_SHARING = Setting(False, FLAG, "Users may share a conversation by a link. See [Sharing](#sharing).")


class Limits:
    STREAMING_CHAT_ALLOW_ANONYMOUS = Setting(
        False, FLAG, "Visitors without an account may chat. See [Visitors](#visitors)."
    )
    STREAMING_CHAT_MAX_MESSAGE_CHARS = Setting(32_000, whole_number("code points"), "The longest message.")
    STREAMING_CHAT_MAX_CONVERSATION_MESSAGES = Setting(
        5_000,
        whole_number("messages"),
        "The longest conversation, with all its branches. Beyond it, nothing can be sent in it.",
    )
    STREAMING_CHAT_MAX_REPLY_CHARS = Setting(
        1_000_000,
        whole_number("code points"),
        "The longest reply: text, reasoning, and the tool calls with their names, ids and arguments. Each part after the"
        " first counts 100 more. A longer reply is cut off and ends as completed, with the reason `length_cap`.",
    )
    STREAMING_CHAT_MAX_REPLY_SECONDS = Setting(
        600.0, POSITIVE_SECONDS, "The longest time that a reply may take; then it ends in the same way."
    )
    STREAMING_CHAT_MAX_LIVE_REPLIES_PER_OWNER = Setting(
        3,
        whole_number("replies"),
        "How many replies may be in progress for one owner, over all processes. An owner's share of each process's"
        " [work](http-api.md#rate-limits) grows with it.",
    )
    STREAMING_CHAT_MAX_LIVE_REPLIES = Setting(
        2_000, whole_number("replies"), "How many replies may be in progress in one process."
    )
    STREAMING_CHAT_MAX_READERS = Setting(
        10_000,
        whole_number("streams"),
        "How many streams one process may serve. One owner may have a tenth of them, at least 8; another tenth is reserved "
        "for new messages.",
    )


class Timing:
    STREAMING_CHAT_DISCONNECT_GRACE_SECONDS = Setting[float | None](
        None,
        optional(SECONDS),
        "How long a reply continues after its last reader has disconnected; None: to its end.",
    )
    STREAMING_CHAT_FLUSH_SECONDS = Setting(0.5, POSITIVE_SECONDS, "The longest time before received text is saved.")
    STREAMING_CHAT_CONTEXT_TIMEOUT_SECONDS = Setting(
        10.0, POSITIVE_SECONDS, "The longest time that `CONTEXT` may take; then the reply fails."
    )
    STREAMING_CHAT_LEASE_SECONDS = Setting(
        15.0,
        POSITIVE_SECONDS,
        "How long a worker's lease on its replies lasts. The worker renews it while it runs; when it expires, another"
        " process ends the replies. It must be more than 3 times `FLUSH_SECONDS`.",
    )
    STREAMING_CHAT_HEARTBEAT_SECONDS = Setting(
        15.0, POSITIVE_SECONDS, "The longest silence on a stream; then a heartbeat is sent."
    )
    STREAMING_CHAT_SEND_TIMEOUT_SECONDS = Setting(
        30.0,
        POSITIVE_SECONDS,
        "A client that reads nothing for this long is disconnected. The reply continues.",
    )
    STREAMING_CHAT_DRAIN_SECONDS = Setting(10.0, SECONDS, "The time that live replies have to finish at shutdown.")
    STREAMING_CHAT_JOURNAL_DIR = Setting[str | None](
        None,
        optional(PATH),
        "The folder for text and endings that could not be saved for 30 seconds. They are saved when the database is back,"
        " at the next start, or by `manage.py recoverreplies`. None: they stay in memory. The folder holds what people"
        " wrote: keep it private, on a disk that survives a restart.",
    )


class Review:
    STREAMING_CHAT_REVIEW_REASONS = Setting[list[str]](
        ["rated_bad", "failed", "interrupted"],
        some_of("rated_bad", "failed", "interrupted", "stopped"),
        "What makes a conversation need attention: a reply that was rated bad, that failed, was interrupted or was stopped"
        " by a person. A change applies to what happens from then on.",
    )
    STREAMING_CHAT_REVIEW_LABELS = Setting[list[str]](
        [],
        STRINGS,
        "The labels that reviewers can give to conversations and messages, in addition to a verdict. A label that you remove"
        " here stays where it was given until the reviewer saves again.",
    )
    STREAMING_CHAT_REVIEW_SAMPLE_PERCENT = Setting(
        5.0,
        number("percent", 0, 100),
        "The share of conversations active in the last 30 days that is in the random sample. A larger sample contains the"
        " smaller one.",
    )


class Redaction:
    STREAMING_CHAT_REDACTION_PATTERNS = Setting[dict[str, str]](
        _PATTERNS,
        TABLE,
        "The regular expressions that staff can choose when they [redact passages](privacy.md#redacting-passages), by a name"
        " for people. Letters match in both cases. A text of a user must not make one slow: bound its repetitions.",
    )


class Alerts:
    STREAMING_CHAT_ALERT_WEBHOOK_URL = Setting(
        "", STRING, "The address to which [alerts](alerts.md) are sent with POST."
    )
    STREAMING_CHAT_ALERT_WEBHOOK_SECRET = Setting(
        "",
        STRING,
        "What signs them: `whsec_` and 24 to 64 random bytes in base64. `testalert --new-secret` prints one.",
    )
    STREAMING_CHAT_ALERT_EMAILS = Setting[list[str]](
        [], STRINGS, "The addresses that get an email for each alert, through Django's email settings."
    )
    STREAMING_CHAT_ALERT_ERROR_PERCENT = Setting[float | None](
        None,
        optional(number("percent", 0, 100)),
        "Alert if a larger share of a provider's replies of the last 10 minutes has failed, of at least 10 replies.",
    )
    STREAMING_CHAT_ALERT_DAILY_BUDGET = Setting[float | None](
        None, optional(number("dollars")), "Alert if the site has spent more on a day (UTC)."
    )
    STREAMING_CHAT_ALERT_DAILY_USER_BUDGET = Setting[float | None](
        None, optional(number("dollars")), "Alert if one user, or one visitor, has spent more on a day (UTC)."
    )
    STREAMING_CHAT_ALERT_LABELS = Setting[list[str]](
        [], STRINGS, "Alert if a reviewer gives one of these labels, which are in `REVIEW_LABELS`."
    )
    STREAMING_CHAT_ALERT_ON_BAD_FEEDBACK = Setting(False, FLAG, "Alert if a reply gets a thumbs down.")


class Conf(Backends, Models, ToolSettings, Page, Limits, Timing, Review, Redaction, Alerts):
    """The settings, by their full names."""

    def __init__(self) -> None:
        # Where Django keeps the settings that have been read: what is there is found without calling `Setting`, 40 times a
        # send. Django forgets one that is assigned or deleted, and all of them when `override_settings` begins or ends. It
        # does not keep that the site has not set one, and would look for it for 2 µs each time.
        self.__dict__ = vars(settings)


conf = Conf()
