"""Which calls have a result, and where a stop may cut a reply that has calls."""

from django.test import SimpleTestCase

from streaming_chat.protocol.events import STEP, TEXT, TOOL_CALL, Event, length
from streaming_chat.protocol.tool_calls import OK, approval, denial, open_calls, result, without_tools_cut

FIRST = Event(STEP, {"number": 1})


def call(call_id, **more):
    return Event(TOOL_CALL, {"id": call_id, "name": "f", "arguments": "{}", "complete": True, **more})


class OpenCallsTests(SimpleTestCase):
    def test_calls_without_a_result(self):
        found = open_calls([FIRST, call("a"), call("b"), result("a", OK, "1")])

        assert [payload["id"] for payload in found] == ["b"]

    def test_a_clients_calls_are_not_the_sites(self):
        """A reply to a client with tools of its own has no steps."""
        assert open_calls([call("a")]) == []

    def test_what_the_provider_runs_is_not_the_sites(self):
        assert open_calls([FIRST, call("a", runs="provider")]) == []

    def test_a_call_that_waits_is_open(self):
        assert len(open_calls([FIRST, call("a"), approval([{"id": "a"}], "2030-01-01")])) == 1


class CutTests(SimpleTestCase):
    REPLY = (FIRST, Event(TEXT, "I look."), call("a"), result("a", OK, "1"), Event(TEXT, "Done."))

    def test_a_result_is_never_cut_off(self):
        """Positions before it become the one after it; those in the text that follows stay."""
        after_result = length(self.REPLY[:4])
        cuts = [without_tools_cut(self.REPLY, cut) for cut in range(length(self.REPLY) + 1)]

        assert cuts == [max(cut, after_result) for cut in range(length(self.REPLY) + 1)]

    def test_while_a_call_runs_nothing_is_cut_off(self):
        assert without_tools_cut(self.REPLY[:3], 2) is None

    def test_without_calls_a_stop_cuts_where_it_says(self):
        assert without_tools_cut([Event(TEXT, "Hello")], 2) == 2

    def test_a_stop_that_names_no_position(self):
        assert without_tools_cut(self.REPLY, None) is None


class DenialTests(SimpleTestCase):
    def test_the_model_is_told_the_reason(self):
        assert denial("a").payload["output"] == "The user did not allow this call."
        assert denial("a", "Too much").payload["output"].endswith("The reason given: Too much")
