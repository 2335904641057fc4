"""Findings: what an answer or a stream means, in plain words, and what to do about it."""

from __future__ import annotations

import statistics
from itertools import pairwise
from typing import Any, NamedTuple
from urllib.parse import urljoin

from django.utils.translation import gettext as _

from .probe import Answer, Stream

OK, WARN, FAIL = "ok", "warn", "FAIL"

# A stream is silent so long, and most of its events come together: they waited somewhere.
_BURST_SILENCE_SECONDS = 0.5
_TOGETHER_SECONDS = 0.002
_SLOW_FIRST_EVENT_SECONDS = 2.0
_CLOCK_SECONDS = 2.0
_LATE_SECONDS = 2.0


class Finding(NamedTuple):
    """What one check found. level: ok, warn or FAIL. text: what was measured, and what to do."""

    level: str
    check: str
    text: str


# A redirect to HTTPS, or a host that is not in ALLOWED_HOSTS.
NOT_LET_THROUGH = {301, 302, 307, 308, 400}


def unbuffer() -> str:
    """Return what to do about a stream that is held back."""
    return _(
        "Let the X-Accel-Buffering header reach nginx, or set proxy_buffering off; elsewhere, switch off the buffering of "
        "responses and the compression of text/event-stream."
    )


def why_not_healthy(answer: Answer, url: str, path: str = "health") -> str:
    """Return why `health`, or another path of the app, does not say ok."""
    status, there = answer.status, urljoin(url, answer.headers.get("Location", ""))
    if status in (301, 302, 307, 308) and there == urljoin(url, path):
        return _(
            "It redirects to itself: the app does not know that it is asked over HTTPS. Set X-Forwarded-Proto in what "
            "stands before it, and let the app's server trust that address (--forwarded-allow-ips)."
        )
    if status in (301, 302, 307, 308):
        return _("It redirects to %s: give that address.") % there
    if status == 400:
        return _("The request was refused (400): is the host in ALLOWED_HOSTS, and is the Host header passed on?")
    if status == 404:
        return _("There is no app here (404): the URL must be where streaming_chat.urls is mounted.")
    if status in (502, 504):
        return _("What stands before the app cannot reach it (%d): does it run, and at that port?") % status
    if status == 503:
        return _("The app, or what stands before it, takes no requests now (503): does it restart?")
    return _("Something else answers here (%d): the URL must be where streaming_chat.urls is mounted.") % status


def why_refused(status: int, body: Any) -> str:
    """Return why a request was refused. body: the answer's JSON, None where it has none."""
    error = body.get("error", {}) if isinstance(body, dict) else {}
    if error.get("code") == "csrf_failed":
        return _(
            "The security token or the origin was refused (403): is the site in CSRF_TRUSTED_ORIGINS, are Host and "
            "X-Forwarded-Proto set in what stands before the app, and is the X-CSRFToken header passed on?"
        )
    if error:
        return _("Refused (%(status)d): %(message)s") % {"status": status, "message": error.get("message")}
    if status == 413:
        return _("Refused for its size by what stands before the app (413; nginx: client_max_body_size).")
    return _("Refused with %d by what stands before the app, or by a middleware: the answer is not the app's.") % status


def interface_finding(server: dict[str, Any], processes: int) -> Finding:
    """Return how requests come to the app."""
    check = _("server")
    if server["interface"] == "asgi":
        return Finding(OK, check, _("ASGI. Processes that answered: %d.") % processes)
    if server["threads"]:
        text = _("WSGI: each open reply holds a thread of the server. Processes that answered: %d. Prefer ASGI.")
        return Finding(WARN, check, text % processes)
    text = _(
        "WSGI with one request at a time: each open reply holds a whole process (%d answered). Use gunicorn's gthread "
        "worker, or ASGI."
    )
    return Finding(WARN, check, text % processes)


def address_finding(server: dict[str, Any], origin: str) -> Finding:
    """Return whether the app knows by which address it is asked."""
    seen = f"{server['scheme']}://{server['host']}"
    if seen == origin:
        return Finding(OK, _("address"), _("The app knows that it is %s.") % seen)
    text = _(
        "The app takes itself for %(seen)s, not %(asked)s: set X-Forwarded-Proto and Host in what stands before it, and "
        "let the app's server trust that address (--forwarded-allow-ips)."
    )
    return Finding(FAIL, _("address"), text % {"seen": seen, "asked": origin})


def protocol_finding(*, offers_http2: bool) -> Finding:
    """Return what a browser would speak."""
    if offers_http2:
        return Finding(OK, _("protocol"), _("Browsers get HTTP/2: all their open replies share one connection."))
    text = _(
        "Browsers get HTTP/1.1: six connections to a host for all tabs, so a seventh open reply waits. Offer HTTP/2, "
        "which takes TLS."
    )
    return Finding(WARN, _("protocol"), text)


def clocks_finding(offsets: dict[str, float]) -> Finding:
    """Return how far clocks are apart. offsets: of each from this host's, in seconds."""
    apart = max(offsets.values()) - min(offsets.values())
    shown = ", ".join(f"{name} {offset:+.1f} s" for name, offset in offsets.items())
    if apart < _CLOCK_SECONDS:
        return Finding(OK, _("clocks"), _("They agree (against this host: %s).") % shown)
    text = _(
        "They are %(apart).1f s apart (against this host: %(shown)s). Replies go by the database's clock alone; sessions, "
        "signed values and logs do not. Synchronise them."
    )
    return Finding(WARN, _("clocks"), text % {"apart": apart, "shown": shown})


def headers_finding(stream: Stream) -> Finding:
    """Return whether the headers that keep a stream from being held back have come through."""
    kind, cache = stream.headers.get("Content-Type", ""), stream.headers.get("Cache-Control", "")
    if not kind.startswith("text/event-stream"):
        return Finding(FAIL, _("headers"), _("Content-Type is %r, not text/event-stream.") % kind)
    if "no-transform" not in cache or "no-store" not in cache:
        text = _(
            "Cache-Control is %r: what stands before the app has replaced it. It must keep no-store and no-transform."
        )
        return Finding(FAIL, _("headers"), text % cache)
    if "X-Accel-Buffering" in stream.headers:
        return Finding(OK, _("headers"), _("All kept; nothing in between took X-Accel-Buffering."))
    return Finding(OK, _("headers"), _("All kept; X-Accel-Buffering was taken by something in between, as nginx does."))


def encoding_finding(stream: Stream) -> Finding:
    """Return whether something compresses the stream."""
    if not stream.encoding:
        return Finding(OK, _("encoding"), _("Not compressed, though the client would take gzip."))
    text = _(
        "Compressed (%s): a compressor holds events back until it has enough. Exclude text/event-stream, and let the "
        "header Content-Encoding: identity of the app pass."
    )
    return Finding(FAIL, _("encoding"), text % stream.encoding)


def first_event_finding(stream: Stream) -> Finding:
    """Return how long the first word took."""
    first = next((arrival for arrival in stream.arrivals if arrival.data.get("text")), stream.arrivals[-1])
    seconds = first.at - stream.asked_at
    level = OK if seconds < _SLOW_FIRST_EVENT_SECONDS else WARN
    return Finding(level, _("first word"), _("After %.0f ms.") % (seconds * 1000))


def gaps_finding(stream: Stream, *, is_steady: bool) -> Finding:
    """Return whether events arrive as they are sent. is_steady: that is known to be over time, not in bursts."""
    check = _("gaps")
    gaps = [later.at - earlier.at for earlier, later in pairwise(stream.arrivals)]
    if not gaps:
        return Finding(WARN, check, _("The reply was too short to measure."))
    silence = max(stream.arrivals[0].at - stream.asked_at, *gaps)
    together = sum(gap < _TOGETHER_SECONDS for gap in gaps)
    measured: dict[str, float] = {"count": len(gaps) + 1, "together": together, "silence": silence * 1000}
    measured |= {"middle": statistics.median(gaps) * 1000, "longest": max(gaps) * 1000}
    if silence >= _BURST_SILENCE_SECONDS and together >= len(gaps) / 2:
        text = _(
            "Buffering: %(together)d of %(count)d events came together with the one before, after silences of up to "
            "%(silence).0f ms. Something in between holds the stream back."
        )
        if is_steady:
            return Finding(FAIL, check, f"{text % measured} {unbuffer()}")
        return Finding(WARN, check, f"{text % measured} {_('Unless this model sends in bursts.')} {unbuffer()}")
    if max(gaps) >= _BURST_SILENCE_SECONDS:
        text = _("%(count)d events, at most %(longest).0f ms apart: a slow model, or a busy host.")
        return Finding(WARN, check, text % measured)
    text = _("%(count)d events, in the middle %(middle).0f ms apart, at most %(longest).0f ms.")
    return Finding(OK, check, text % measured)


def idle_finding(stream: Stream, heartbeat: float) -> Finding:
    """Return whether a heartbeat came in its time. heartbeat: seconds of silence after which one is due."""
    check = _("idle")
    silent = [at - stream.arrivals[-1].at for at in stream.heartbeats]
    if silent and heartbeat / 2 < silent[0] < heartbeat + _LATE_SECONDS:
        return Finding(OK, check, _("After %.1f s of silence came a heartbeat.") % silent[0])
    if stream.was_cut:
        text = _(
            "The stream was cut in a silence, before the heartbeat that is due after %g s. What stands before the app must "
            "be more patient (nginx: proxy_read_timeout), or STREAMING_CHAT_HEARTBEAT_SECONDS smaller."
        )
        return Finding(FAIL, check, text % heartbeat)
    return Finding(FAIL, check, f"{_('The heartbeat that is due after %g s did not come.') % heartbeat} {unbuffer()}")
