"""Findings: what a response or a stream means, in plain words, and what to do about it."""

from __future__ import annotations

import statistics
from itertools import pairwise
from typing import Any, NamedTuple
from urllib.parse import urljoin

from django.utils.translation import gettext as _

from .probe import Answer, Stream

OK, WARN, FAIL = "ok", "warn", "FAIL"

# After a pause of this length, events that arrive this close together have been buffered.
_BURST_SILENCE_SECONDS = 0.5
_BURST_GAP_SECONDS = 0.002
_SLOW_FIRST_EVENT_SECONDS = 2.0
_MAX_CLOCK_OFFSET = 2.0
_LATE_SECONDS = 2.0


class Finding(NamedTuple):
    """The result of a check. level: OK, WARN or FAIL. text: what was measured, and what to do."""

    level: str
    check: str
    text: str


# A redirect to HTTPS, or a host that is not in ALLOWED_HOSTS.
NOT_LET_THROUGH = {301, 302, 307, 308, 400}


def unbuffer() -> str:
    """Return what to do about a buffered stream."""
    return _(
        "Let the X-Accel-Buffering header reach nginx, or set proxy_buffering off. For other "
        "proxies, turn off response buffering and the compression of text/event-stream."
    )


def why_not_healthy(answer: Answer, url: str, path: str = "health") -> str:
    """Return why `health`, or another path of the app, does not answer as it should."""
    status, there = answer.status, urljoin(url, answer.headers.get("Location", ""))
    if status in (301, 302, 307, 308) and there == urljoin(url, path):
        return _(
            "It redirects to itself: the app does not know that the request came over HTTPS. Set "
            "X-Forwarded-Proto in the proxy, and make the app's server trust the proxy "
            "(--forwarded-allow-ips)."
        )
    if status in (301, 302, 307, 308):
        return _("It redirects to %s. Use that URL.") % there
    if status == 400:
        return _(
            "The request was refused (400). Is the host in ALLOWED_HOSTS, and does the proxy forward the Host header?"
        )
    if status == 404:
        return _("The app is not here (404). The URL must be the one where streaming_chat.urls is mounted.")
    if status in (502, 504):
        return _("The proxy cannot reach the app (%d). Is it running, and on that port?") % status
    if status == 503:
        return _("The app or the proxy accepts no requests now (503). Is it restarting?")
    return _("Something else answers here (%d). The URL must be the one where streaming_chat.urls is mounted.") % status


def why_refused(status: int, body: Any) -> str:
    """Return why a request was refused. body: the JSON of the response, or None."""
    error = body.get("error", {}) if isinstance(body, dict) else {}
    if error.get("code") == "csrf_failed":
        return _(
            "The CSRF token or the origin was refused (403). Is the site in CSRF_TRUSTED_ORIGINS, and"
            " does the proxy set Host and X-Forwarded-Proto and forward the X-CSRFToken header?"
        )
    if error:
        return _("Refused (%(status)d): %(message)s") % {"status": status, "message": error.get("message")}
    if status == 413:
        return _("The proxy refused the request because of its size (413; nginx: client_max_body_size).")
    return _("The proxy or a middleware refused the request with %d; the response is not the app's.") % status


def interface_finding(server: dict[str, Any], processes: int) -> Finding:
    """Return how requests reach the app."""
    check = _("server")
    if server["interface"] == "asgi":
        return Finding(OK, check, _("ASGI. Processes that answered: %d.") % processes)
    if server["threads"]:
        text = _("WSGI: each open reply occupies a thread of the server. Processes that answered: %d. ASGI is better.")
        return Finding(WARN, check, text % processes)
    text = _(
        "WSGI with one request at a time: each open reply occupies a whole process (%d answered)."
        " Use gunicorn's gthread worker, or ASGI."
    )
    return Finding(WARN, check, text % processes)


def address_finding(server: dict[str, Any], origin: str) -> Finding:
    """Return whether the app knows its own address."""
    seen = f"{server['scheme']}://{server['host']}"
    if seen == origin:
        return Finding(OK, _("address"), _("The app knows its address, %s.") % seen)
    text = _(
        "The app sees its address as %(seen)s, not %(asked)s. Set X-Forwarded-Proto and Host in "
        "the proxy, and make the app's server trust the proxy (--forwarded-allow-ips)."
    )
    return Finding(FAIL, _("address"), text % {"seen": seen, "asked": origin})


def protocol_finding(*, offers_http2: bool) -> Finding:
    """Return what a browser would speak."""
    if offers_http2:
        return Finding(OK, _("protocol"), _("Browsers get HTTP/2: all their open replies share one connection."))
    text = _(
        "Browsers get HTTP/1.1, with six connections per host for all tabs, so a seventh open "
        "reply waits. Offer HTTP/2, which requires TLS."
    )
    return Finding(WARN, _("protocol"), text)


def clocks_finding(offsets: dict[str, float]) -> Finding:
    """Return how far clocks are apart. offsets: of each from this host's, in seconds."""
    apart = max(offsets.values()) - min(offsets.values())
    shown = ", ".join(f"{name} {offset:+.1f} s" for name, offset in offsets.items())
    if apart < _MAX_CLOCK_OFFSET:
        return Finding(OK, _("clocks"), _("They agree (relative to this host: %s).") % shown)
    text = _(
        "They differ by %(apart).1f s (relative to this host: %(shown)s). Replies use the "
        "database's clock only, but sessions, signed values and logs do not. Synchronise them."
    )
    return Finding(WARN, _("clocks"), text % {"apart": apart, "shown": shown})


def headers_finding(stream: Stream) -> Finding:
    """Return whether the headers that prevent buffering have arrived."""
    kind, cache = stream.headers.get("Content-Type", ""), stream.headers.get("Cache-Control", "")
    if not kind.startswith("text/event-stream"):
        return Finding(FAIL, _("headers"), _("Content-Type is %r, not text/event-stream.") % kind)
    if "no-transform" not in cache or "no-store" not in cache:
        text = _("Cache-Control is %r: the proxy has replaced it. It must keep no-store and no-transform.")
        return Finding(FAIL, _("headers"), text % cache)
    if "X-Accel-Buffering" in stream.headers:
        return Finding(OK, _("headers"), _("All were kept; no proxy has consumed X-Accel-Buffering."))
    return Finding(OK, _("headers"), _("All were kept; a proxy has consumed X-Accel-Buffering, as nginx does."))


def encoding_finding(stream: Stream) -> Finding:
    """Return whether a proxy compresses the stream."""
    if not stream.encoding:
        return Finding(OK, _("encoding"), _("Not compressed, although the client accepts gzip."))
    text = _(
        "Compressed (%s): compression delays events. Exclude text/event-stream from it, and "
        "forward the app's Content-Encoding: identity header."
    )
    return Finding(FAIL, _("encoding"), text % stream.encoding)


def first_event_finding(stream: Stream) -> Finding:
    """Return the time to the first token."""
    first = next((arrival for arrival in stream.arrivals if arrival.data.get("text")), stream.arrivals[-1])
    seconds = first.at - stream.asked_at
    level = OK if seconds < _SLOW_FIRST_EVENT_SECONDS else WARN
    return Finding(level, _("first word"), _("After %.0f ms.") % (seconds * 1000))


def gaps_finding(stream: Stream, *, is_steady: bool) -> Finding:
    """Return whether events arrive as they are sent. is_steady: the model is known not to send in bursts."""
    check = _("gaps")
    gaps = [later.at - earlier.at for earlier, later in pairwise(stream.arrivals)]
    if not gaps:
        return Finding(WARN, check, _("The reply was too short to measure."))
    silence = max(stream.arrivals[0].at - stream.asked_at, *gaps)
    together = sum(gap < _BURST_GAP_SECONDS for gap in gaps)
    measured: dict[str, float] = {"count": len(gaps) + 1, "together": together, "silence": silence * 1000}
    measured |= {"middle": statistics.median(gaps) * 1000, "longest": max(gaps) * 1000}
    if silence >= _BURST_SILENCE_SECONDS and together >= len(gaps) / 2:
        text = _(
            "Buffering: %(together)d of %(count)d events arrived together with the one before, after "
            "pauses of up to %(silence).0f ms. A proxy buffers the stream."
        )
        if is_steady:
            return Finding(FAIL, check, f"{text % measured} {unbuffer()}")
        return Finding(WARN, check, f"{text % measured} {_('Unless this model sends in bursts.')} {unbuffer()}")
    if max(gaps) >= _BURST_SILENCE_SECONDS:
        text = _("%(count)d events with gaps of up to %(longest).0f ms: a slow model, or a busy host.")
        return Finding(WARN, check, text % measured)
    text = _("%(count)d events, with a median gap of %(middle).0f ms and at most %(longest).0f ms.")
    return Finding(OK, check, text % measured)


def idle_finding(stream: Stream, heartbeat: float) -> Finding:
    """Return whether a heartbeat arrived in time. heartbeat: seconds after which one is due."""
    check = _("idle")
    silent = [at - stream.arrivals[-1].at for at in stream.heartbeats]
    if silent and heartbeat / 2 < silent[0] < heartbeat + _LATE_SECONDS:
        return Finding(OK, check, _("A heartbeat arrived after a pause of %.1f s.") % silent[0])
    if stream.was_cut:
        text = _(
            "The stream was cut during a pause, before the heartbeat that is due after %g s. Increase"
            " the timeout of the proxy (nginx: proxy_read_timeout), or decrease "
            "STREAMING_CHAT_HEARTBEAT_SECONDS."
        )
        return Finding(FAIL, check, text % heartbeat)
    return Finding(FAIL, check, f"{_('The heartbeat that is due after %g s did not arrive.') % heartbeat} {unbuffer()}")
