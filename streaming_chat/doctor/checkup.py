"""The checks of the doctor: it creates a conversation with a few replies, and yields a finding for each check.

It measures from outside, reads the rows, and asks the server what it knows about itself (views/api/diagnosis.py).
"""

from __future__ import annotations

import ssl
import statistics
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models.functions import Now
from django.utils.translation import gettext as _

from streaming_chat.conf import DEMO_PROVIDER, conf
from streaming_chat.db.alias import live_database
from streaming_chat.models import Conversation, LiveReply, Message
from streaming_chat.providers import get_provider, split_model
from streaming_chat.views.api.diagnosis import HEADER, make_token

from . import findings
from .findings import FAIL, OK, WARN, Finding
from .probe import FAULTS, Answer, Probe, Stream

# "long" makes the demo write for half a minute; a model follows the instruction.
_LONG_PROMPT = "Write a long text: count from 1 to 500 in words, one number a line, without any other word."
_EVENTS = 60
_DISCONNECT_SECONDS = 10.0
_SLOW_DISCONNECT_SECONDS = 3.0
# Longer than it takes to end a reply after a disconnect.
_AWAY_SECONDS = 1.5
_LAG_SECONDS = 3.0
_DIAGNOSIS_REQUESTS = 12
_FOLLOWERS = 4


class StopCheckupError(Exception):
    """A failure after which nothing else can be checked. Its message is the text of the finding."""


class Checkup:
    """Checks the app as the user whose session the probe has.

    model: to use, "" for the demo. is_quick: without the check that waits for a heartbeat.
    """

    def __init__(self, probe: Probe, model: str = "", *, is_quick: bool = False) -> None:
        self._probe = probe
        self._model = model or _demo_model()
        self._is_demo = self._model == _demo_model()
        self._is_quick = is_quick
        self._timeout = probe.timeout
        self._conversation = ""
        self._processes: set[str] = set()
        # What the server says about itself; until then, the settings of this process.
        self._server: dict[str, Any] = {
            "notifier": conf.STREAMING_CHAT_NOTIFIER["BACKEND"],
            "grace": conf.STREAMING_CHAT_DISCONNECT_GRACE_SECONDS,
            "heartbeat": conf.STREAMING_CHAT_HEARTBEAT_SECONDS,
        }

    def run(self) -> Iterator[Finding]:
        """Yield the findings, each as soon as it is known."""
        checks = {
            _("reachable"): self._check_health,
            _("session"): self._check_session,
            _("server"): self._check_server,
            _("protocol"): self._check_protocol,
            _("clocks"): self._check_clocks,
            _("sending"): self._create_conversation,
            _("stream"): self._check_stream,
            _("disconnect"): self._check_disconnect,
            _("grace"): self._check_grace,
            _("idle"): self._check_heartbeat,
            _("processes"): self._check_processes,
        }
        for name, check in checks.items():
            try:
                yield from check()
            except StopCheckupError as error:
                yield Finding(FAIL, name, str(error))
                return
            except FAULTS as error:
                yield Finding(FAIL, name, _("The connection failed: %s.") % error)

    def clean_up(self) -> None:
        """Stop live replies, and delete the conversation."""
        if self._conversation:
            live = LiveReply.objects.using(live_database()).filter(conversation_id=self._conversation)
            live.request_stop("user")
            _wait_until(lambda: not live.exists(), _DISCONNECT_SECONDS)
            Conversation.objects.using(live_database()).filter(pk=self._conversation).delete()

    def _check_health(self) -> Iterator[Finding]:
        try:
            answer = self._probe.request("GET", "health")
        except ssl.SSLCertVerificationError as error:
            text = _("The certificate is not accepted: %s. Use --insecure for a self-signed one.")
            raise StopCheckupError(text % error.verify_message) from error
        except FAULTS as error:
            text = _("Nothing answers at %(url)s: %(error)s.")
            raise StopCheckupError(text % {"url": self._probe.url, "error": error}) from error
        if answer.status != 200 or answer.body.strip() != b"ok":
            raise StopCheckupError(findings.why_not_healthy(answer, self._probe.url))
        measured = {"ms": answer.seconds * 1000, "server": answer.headers.get("Server", "-")}
        text = _("Healthy, in %(ms).0f ms. The Server header is %(server)s.")
        yield Finding(OK, _("reachable"), text % measured)

    def _check_session(self) -> Iterator[Finding]:
        answer = self._probe.request("GET", "api/models")
        # `streaming_chat.asgi` answers the health check before ALLOWED_HOSTS and the redirect to HTTPS apply.
        if answer.status in findings.NOT_LET_THROUGH:
            raise StopCheckupError(findings.why_not_healthy(answer, self._probe.url, "api/models"))
        offered = answer.json()
        if answer.status != 200 or not isinstance(offered, dict):
            text = _(
                "The session cookie is not accepted (%d). Does this command run with the app's "
                "environment (DATABASE_URL, SECRET_KEY), and do all proxies forward the Cookie header?"
            )
            raise StopCheckupError(text % answer.status)
        models = [entry["id"] for entry in offered["results"]]
        if not _is_offered(self._model, models):
            text = _(
                "The model %(model)s is not offered. Choose another one with --model, for which its "
                "provider charges: %(models)s."
            )
            raise StopCheckupError(text % {"model": self._model or "demo", "models": ", ".join(models)})
        yield Finding(OK, _("session"), _("Accepted. The model %s is available.") % self._model)

    def _check_server(self) -> Iterator[Finding]:
        answers = [self._diagnosis() for _number in range(_DIAGNOSIS_REQUESTS)]
        servers = [answer.json() for answer in answers if answer is not None]
        if not servers:
            text = _(
                "The app does not answer the diagnosis request: its SECRET_KEY differs from the one of "
                "this command, or its version is older."
            )
            yield Finding(WARN, _("server"), text)
            return
        self._server = servers[0]
        self._processes = {server["process"] for server in servers}
        yield findings.interface_finding(self._server, len(self._processes))
        yield findings.address_finding(self._server, self._probe.origin)

    def _diagnosis(self) -> Answer | None:
        answer = self._probe.request("GET", "api/diagnosis", headers={HEADER: make_token()})
        return answer if answer.status == 200 else None

    def _check_protocol(self) -> Iterator[Finding]:
        yield findings.protocol_finding(offers_http2=self._probe.offers_http2())

    def _check_clocks(self) -> Iterator[Finding]:
        offsets = {_("database"): _database_offset()}
        answer = self._diagnosis()
        if answer is not None:
            offsets[_("app")] = answer.json()["time"] - answer.at
        else:
            answer = self._probe.request("GET", "health")
        if date := answer.headers.get("Date"):
            # It is truncated to whole seconds.
            offsets[_("Date header")] = parsedate_to_datetime(date).timestamp() + 0.5 - answer.at
        yield findings.clocks_finding(offsets)

    def _create_conversation(self) -> Iterator[Finding]:
        answer = self._probe.request("POST", "api/conversations", {"title": "chatdoctor"})
        if answer.status != 201:
            raise StopCheckupError(findings.why_refused(answer.status, answer.json()))
        conversation = answer.json()["id"]
        if not Conversation.objects.using(live_database()).filter(pk=conversation).exists():
            raise StopCheckupError(_("The app writes to a different database than this command reads."))
        self._conversation = conversation
        yield Finding(OK, _("sending"), _("The CSRF token and the origin are accepted."))

    def _send(self, content: str = _LONG_PROMPT, **body: Any) -> Stream:
        """Send a message at the root, so the prompt has no earlier replies. Raises StopCheckupError if it is refused."""
        sent = {"content": content, "model": self._model, "parent": None, **body}
        path = f"api/conversations/{self._conversation}/messages"
        stream = self._probe.open("POST", path, sent)
        if stream.status != 200:
            raise StopCheckupError(findings.why_refused(stream.status, stream.read_json()))
        return stream

    def _check_stream(self) -> Iterator[Finding]:
        try:
            stream = self._send()
        except TimeoutError:
            raise StopCheckupError(self._why_no_events()) from None
        stream.read(lambda stream: len(stream.arrivals) > _EVENTS or stream.ending, self._timeout)
        yield findings.headers_finding(stream)
        yield findings.encoding_finding(stream)
        if not stream.arrivals:
            stream.close()
            raise StopCheckupError(self._why_no_events())
        yield findings.first_event_finding(stream)
        gaps = findings.gaps_finding(stream, is_steady=self._is_demo)
        if gaps.level == FAIL:
            stream.close()
            yield gaps
            raise StopCheckupError(_("Fix this first; the other checks of streams depend on it."))
        yield gaps
        yield from self._check_resume_and_stop(stream)

    def _why_no_events(self) -> str:
        replies = Message.objects.using(live_database()).filter(conversation_id=self._conversation, role="assistant")
        if not replies.exists():
            return _("Nothing arrived in %d s, and no reply was started.") % self._timeout
        text = _("Buffering: nothing arrived in %d s, although the reply is being written.")
        return f"{text % self._timeout} {findings.unbuffer()}"

    def _check_resume_and_stop(self, stream: Stream) -> Iterator[Finding]:
        """Resume from the middle on a second connection, close the first, stop, and compare the text with the row."""
        message_id = _message_id(stream)
        read, until_middle = stream.text, stream.arrivals[: len(stream.arrivals) // 2]
        seen = "".join(arrival.data.get("text", "") for arrival in until_middle)
        try:
            follower = self._follow(message_id, until_middle[-1].id if until_middle else "")
        except TimeoutError:
            text = _(
                "A second connection got no response in %d s while a reply was open. Does the server "
                "handle one request at a time?"
            )
            yield Finding(FAIL, _("resume"), text % self._timeout)
            stream.close()
            self._stop(message_id)
            return
        follower.read(lambda follower: len(seen + follower.text) >= len(read) or follower.ending, self._timeout)
        stream.close()
        answer = self._stop(message_id)
        follower.read(lambda follower: follower.ending, self._timeout)
        follower.close()
        row = _message(message_id)
        yield _text_finding(
            _("resume"), seen + follower.text, row, _("Cut in the middle and resumed: the text is identical.")
        )
        measured = {"ms": answer.seconds * 1000, "status": answer.status, "row": row.status}
        if answer.status == 200 and row.status == "stopped":
            yield Finding(OK, _("stop"), _("Stopped and saved in %(ms).0f ms.") % measured)
        elif answer.status == 200:
            yield Finding(WARN, _("stop"), _("The reply had ended before: %(row)s.") % measured)
        else:
            text = _("Not stopped after %(ms).0f ms: the response was %(status)d, the row says %(row)s.")
            yield Finding(FAIL, _("stop"), text % measured)

    def _follow(self, message_id: uuid.UUID, last_id: str = "") -> Stream:
        headers = {"Last-Event-ID": last_id} if last_id else {}
        return self._probe.open("GET", f"api/messages/{message_id}/events", headers=headers)

    def _stop(self, message_id: uuid.UUID) -> Answer:
        return self._probe.request("POST", f"api/messages/{message_id}/stop", {})

    def _check_disconnect(self) -> Iterator[Finding]:
        """Disconnect from a reply with disconnect="stop", and see in its row when the server noticed."""
        message_id = self._start_and_disconnect(disconnect="stop")
        closed_at = time.monotonic()
        if not _wait_until(lambda: not _is_live(message_id), _DISCONNECT_SECONDS):
            text = _(
                "Not noticed in %d s: the proxy keeps its connection to the app after the client has "
                "disconnected (nginx: proxy_ignore_client_abort must be off)."
            )
            yield Finding(FAIL, _("disconnect"), text % _DISCONNECT_SECONDS)
            self._stop(message_id)
            return
        seconds, row = time.monotonic() - closed_at, _message(message_id)
        if row.end_reason == "disconnect" and seconds < _SLOW_DISCONNECT_SECONDS:
            yield Finding(OK, _("disconnect"), _("Noticed after %.1f s; the reply is stopped.") % seconds)
        elif row.end_reason == "disconnect":
            text = _("Noticed only after %.1f s: the proxy continues to read after the client has disconnected.")
            yield Finding(WARN, _("disconnect"), text % seconds)
        else:
            yield Finding(WARN, _("disconnect"), _("The reply had ended before: %s.") % row.status)

    def _start_and_disconnect(self, **body: Any) -> uuid.UUID:
        stream = self._send(**body)
        stream.read(lambda stream: len(stream.arrivals) > 5 or stream.ending, self._timeout)
        stream.close()
        return _message_id(stream)

    def _check_grace(self) -> Iterator[Finding]:
        """Disconnect as a reload does, resume, and compare with DISCONNECT_GRACE_SECONDS."""
        grace = self._server["grace"]
        message_id = self._start_and_disconnect()
        if _wait_until(lambda: not _is_live(message_id), _AWAY_SECONDS):
            yield _ended_finding(_message(message_id), grace)
            return
        resumed = self._follow(message_id)
        resumed.read(lambda stream: len(stream.arrivals) > 5 or stream.ending, self._timeout)
        self._stop(message_id)
        resumed.read(lambda stream: stream.ending, self._timeout)
        resumed.close()
        if grace is not None and grace < _AWAY_SECONDS / 2:
            text = _("The reply continues without a reader, although DISCONNECT_GRACE_SECONDS is %s.")
            yield Finding(FAIL, _("grace"), text % grace)
            return
        text = _(
            "A reply continues without a reader (DISCONNECT_GRACE_SECONDS is %s), and a returning "
            "reader receives all of it."
        )
        yield _text_finding(_("grace"), resumed.text, _message(message_id), text % grace)

    def _check_heartbeat(self) -> Iterator[Finding]:
        """Make the demo pause for longer than a heartbeat interval."""
        heartbeat = float(self._server["heartbeat"])
        silence = int(heartbeat) + 3
        if self._is_quick or not self._is_demo or silence >= get_provider(split_model(self._model)[0]).stall_timeout:
            return
        stream = self._send(f"pause {silence}")
        stream.read(lambda stream: stream.heartbeats or stream.ending, self._timeout + silence)
        stream.close()
        self._stop(_message_id(stream))
        yield findings.idle_finding(stream, heartbeat)

    def _check_processes(self) -> Iterator[Finding]:
        """Follow a reply on several connections, some of which reach another process, and compare their times."""
        if len(self._processes) < 2:
            return
        stream, is_over = self._send(), threading.Event()
        stream.read(lambda stream: stream.arrivals, self._timeout)
        message_id = _message_id(stream)
        with ThreadPoolExecutor(_FOLLOWERS + 1) as pool:
            pool.submit(stream.read, lambda _stream: is_over.is_set(), 3 * self._timeout)
            lags = list(pool.map(lambda _number: self._lag(message_id, stream), range(_FOLLOWERS)))
            is_over.set()
        stream.close()
        self._stop(message_id)
        measured = {
            "lag": max(lags) * 1000,
            "notifier": self._server["notifier"].rpartition(".")[2],
            "count": _FOLLOWERS,
        }
        text = _(
            "The slowest of %(count)d other readers was %(lag).0f ms behind the first. The notifier is %(notifier)s."
        )
        yield Finding(OK if max(lags) < _LAG_SECONDS else WARN, _("processes"), text % measured)

    def _lag(self, message_id: uuid.UUID, first: Stream) -> float:
        """Return how many seconds a reader is behind the first one: the median over live events."""
        follower = self._follow(message_id)
        # Events from before it connected do not count.
        caught_up = time.monotonic() + 1
        follower.read(lambda stream: stream.arrivals and stream.arrivals[-1].at > caught_up + 3, self._timeout)
        follower.close()
        times = {arrival.position: arrival.at for arrival in list(first.arrivals)}
        live = [arrival for arrival in follower.arrivals if arrival.at > caught_up and arrival.position in times]
        return statistics.median([arrival.at - times[arrival.position] for arrival in live] or [self._timeout])


def _demo_model() -> str:
    """Return the name of the demo model; "" if it is not offered."""
    aliases = {alias for alias, entry in conf.STREAMING_CHAT_PROVIDERS.items() if entry.get("BACKEND") == DEMO_PROVIDER}
    offered = (name for name in conf.STREAMING_CHAT_MODELS if name.partition(":")[0] in aliases)
    return next((name.replace("*", "demo") for name in offered), "")


def _is_offered(model: str, models: list[str]) -> bool:
    return bool(model) and (model in models or f"{model.partition(':')[0]}:*" in models)


def _message_id(stream: Stream) -> uuid.UUID:
    """Return the reply of a stream. Raises ConnectionError if the stream broke before its first event."""
    try:
        return uuid.UUID(stream.last_id.partition("/")[0])
    except ValueError:
        raise ConnectionError(stream.fault or f"status {stream.status}") from None


def _message(message_id: uuid.UUID) -> Message:
    return Message.objects.using(live_database()).get(pk=message_id)


def _is_live(message_id: uuid.UUID) -> bool:
    return LiveReply.objects.using(live_database()).filter(pk=message_id).exists()


def _database_offset() -> float:
    """Return how far the database's clock is ahead of this host's, in seconds."""
    before = time.time()
    # Any table with a row: the session's user exists.
    now = get_user_model()._default_manager.using(live_database()).values_list(Now(), flat=True)[:1][0]
    return float(now.timestamp() - (before + time.time()) / 2)


def _text_finding(check: str, received: str, row: Message, success: str) -> Finding:
    if received == row.text:
        return Finding(OK, check, success)
    text = _(
        "The received text differs from the saved one: %(seen)d characters arrived, %(saved)d are"
        " saved, and the row says %(row)s."
    )
    return Finding(FAIL, check, text % {"seen": len(received), "saved": len(row.text), "row": row.status})


def _ended_finding(row: Message, grace: float | None) -> Finding:
    """Return the finding for a reply that ended soon after its reader had disconnected."""
    if row.end_reason != "disconnect":
        return Finding(WARN, _("grace"), _("The reply had ended before: %s.") % row.status)
    if grace is None or grace > _AWAY_SECONDS:
        text = _("The reply was stopped immediately, although DISCONNECT_GRACE_SECONDS is %s.")
        return Finding(FAIL, _("grace"), text % grace)
    text = _(
        "A reload or a lost connection ends the reply, since DISCONNECT_GRACE_SECONDS is %s. With"
        " 30, users can come back; with None, every reply is finished."
    )
    return Finding(WARN, _("grace"), text % grace)


def _wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
