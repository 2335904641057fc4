"""What the doctor makes of what it measured."""

from django.test import SimpleTestCase

from streaming_chat.doctor.findings import clocks_finding, gaps_finding, idle_finding
from streaming_chat.doctor.probe import Arrival, Stream


class FindingTests(SimpleTestCase):
    def test_clocks_that_are_apart(self):
        assert clocks_finding({"database": 0.2, "app": -0.3}).level == "ok"
        assert clocks_finding({"database": 0.2, "app": -30}) == (
            "warn",
            "clocks",
            (
                "They differ by 30.2 s (relative to this host: database +0.2 s, app -30.0 s). Replies use the database's "
                "clock only, but sessions, signed values and logs do not. Synchronise them."
            ),
        )


def arrived(*times: float) -> Stream:
    """Return a stream with arrivals at these times, in seconds after the request."""
    stream = object.__new__(Stream)
    stream.asked_at = 0.0
    stream.arrivals = [Arrival(at, "message", "", {}) for at in times]
    stream.heartbeats = []
    stream.is_over, stream.fault = False, None
    return stream


class IdleTests(SimpleTestCase):
    """A heartbeat is due after 15 s of silence."""

    def level(self, *heartbeats: float, is_over: bool = False) -> str:
        stream = arrived(1.0)
        stream.heartbeats, stream.is_over = list(heartbeats), is_over
        return idle_finding(stream, 15.0).level

    def test_it_came(self):
        assert self.level(16.02) == "ok"

    def test_it_came_with_what_followed_it(self):
        assert self.level(19.0) == "FAIL"

    def test_it_did_not_come(self):
        assert self.level() == self.level(is_over=True) == "FAIL"


class GapsTests(SimpleTestCase):
    def level(self, *times: float, is_steady: bool = True) -> str:
        return gaps_finding(arrived(*times), is_steady=is_steady).level

    def test_one_at_a_time(self):
        assert self.level(0.6, 0.63, 0.66, 0.69) == "ok"

    def test_all_at_once_after_a_while(self):
        assert self.level(4.0, 4.0, 4.0) == "FAIL"
        assert self.level(4.0, 4.0, 4.0, is_steady=False) == "warn"

    def test_in_bursts(self):
        assert self.level(0.1, 0.1, 0.1, 0.1, 1.0, 1.0, 1.0) == "FAIL"

    def test_one_that_is_late(self):
        assert self.level(0.1, 0.13, 0.16, 1.0, 1.03) == "warn"

    def test_one_alone(self):
        assert self.level(0.1) == "warn"
