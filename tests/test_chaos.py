"""The checker's invariants, each on a history that holds and on one that breaks it. The checker itself: `make chaos`."""

import hashlib
from collections.abc import Iterable
from typing import Any

import pytest
from django.test import SimpleTestCase

from .chaos.history import History
from .chaos.invariants import FINDERS, INVARIANTS, judge, sends_without_a_call
from .chaos.planted import PLANTS

pytestmark = pytest.mark.once

ANA, BEN = "canary-00000000000a", "canary-00000000000b"
DELTAS = [f"0 {ANA} ", "1 ü ", "2 👩‍🚀"]
TEXT = "".join(DELTAS)

SEND = {"user": "ana", "worker": "worker0", "repeat": False, "ends_with_reader": False, "status": 200, "reply": "r1"}


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def ending(text: str = TEXT, status: str = "completed", reason: str = "stop", **more: Any) -> dict[str, Any]:
    """Return the data of an ending frame."""
    return {"text": "", "status": status, "end_reason": reason, "length": len(text), "sha256": sha256(text), **more}


def frames(text: str = TEXT, position: int = 0) -> list[list[Any]]:
    """Return the frames of a reader who asked at a position, two code points each."""
    start = [] if position else [[1, "start", ""]]
    place = max(position - 1, 0)
    pieces = [(at, text[at : at + 2]) for at in range(place, len(text), 2)]
    return start + [[1 + at + len(piece), "message", piece] for at, piece in pieces]


class Story:
    """A history in which ana sent once and read the reply, told differently where a test says so."""

    def __init__(self) -> None:
        self.history = History()
        self.history.write("run", seed=1, canaries={"ana": ANA, "ben": BEN})

    def sent(self, **fields: Any) -> "Story":
        """The send, and what the provider did."""
        told = {"deltas": DELTAS, "whole": True, "canaries": [ANA], **fields}
        self.history.write("send", key="k1", **SEND)
        self.history.write("call", key="k1", **told)
        return self

    def read(self, frames: list[list[Any]], after: int | None = None, **fields: Any) -> "Story":
        """One connection of the view."""
        told = {"view": 1, "user": "ana", "reply": "r1", "worker": "worker0", "left": "FIN", "ending": None, **fields}
        self.history.write("read", after=after, frames=frames, **told)
        return self

    def stored(self, text: str = TEXT, later: dict[str, Any] | None = None, **fields: Any) -> "Story":
        """The row, looked at twice."""
        row = {"reply": "r1", "key": "k1", "owner": "ana", "conversation": "c1", "status": "completed"}
        row |= {"end_reason": "stop", "error_code": "", "cut_position": None, "text": text, "received": text}
        row |= {"ended_at": "now", **fields}
        self.history.write("row", look=1, **row)
        self.history.write("row", look=2, **{**row, **(later or {})})
        return self

    def called(self, *executed: str, results: Iterable[str] = ("call_0",), **fields: Any) -> "Story":
        """A reply in which a tool was called, and what the ledger says."""
        row = {
            "key": "t1",
            "shape": [["step", 1], ["text", len(TEXT)], ["tool_call", 1], ["tool_result", 1], ["step", 1]],
        }
        self.history.write("send", key="t1", **SEND)
        self.history.write("call", key="t1", step=1, refused="", deltas=DELTAS, whole=True, canaries=[ANA])
        self.history.write("call", key="t1", step=2, refused="", deltas=["And."], whole=True, canaries=[ANA])
        row["shape"].append(["text", 6])
        self.stored(f"{TEXT}\n\nAnd.", called=["call_0"], resulted=[*results], **row)
        self.history.write(
            "tool", **{"reply": "r1", "call_id": "call_0", "call": "t1/1/0", "status": "ok", "runs": 1, **fields}
        )
        for what in executed:
            self.history.write("execution", what=what, call=fields.get("call", "t1/1/0"), worker="worker0")
        return self

    def told(self, kind: str, **fields: Any) -> "Story":
        """Anything else."""
        self.history.write(kind, **fields)
        return self

    def remembered(self, megabytes: Iterable[float]) -> "Story":
        """A worker's memory, every ten seconds."""
        for number, figure in enumerate(megabytes):
            self.history.write("memory", worker="worker0", megabytes=figure, at=number * 10)
        return self

    @property
    def broken(self) -> list[str]:
        """The invariants that do not hold."""
        return [name for name, failures in judge(self.history).items() if failures]


class HoldingTests(SimpleTestCase):
    def test_a_plain_reply(self):
        story = Story().sent().read([*frames(), [None, "done", ""]], ending=ending()).stored()

        assert story.broken == []

    def test_a_view_that_went_on_elsewhere(self):
        story = Story().sent().stored().read(frames()[:4], worker="worker0")
        story.read([*frames(position=7), [None, "done", ""]], after=7, worker="worker1", ending=ending())

        assert story.broken == []

    def test_a_view_that_was_reset_to_what_was_saved(self):
        """A killed worker had shown more than it had saved."""
        saved = TEXT[:3]
        story = Story().sent(whole=False).read(frames()).told("fault", name="kill", target="worker0", seconds=1)
        again = [[0, "reset", ""], *frames(saved), [None, "interrupted", ""]]
        story.read(again, after=1 + len(TEXT), ending=ending(saved, "interrupted", "lease_expired"))
        story.stored(saved, status="interrupted", end_reason="lease_expired")

        assert story.broken == []

    def test_a_reply_that_was_stopped_where_its_reader_was(self):
        shown = TEXT[:5]
        story = Story().sent(whole=False).read(frames(shown)).told("stop", reply="r1", user="ana", position=6)
        story.read([[None, "stopped", ""]], after=6, ending=ending(shown, "stopped", "user"))
        story.stored(shown, status="stopped", end_reason="user", cut_position=6, received=TEXT)

        assert story.broken == []

    def test_a_send_whose_worker_died_before_its_call(self):
        story = Story().told("fault", name="kill", target="worker0", seconds=1)
        story.stored("", status="failed", end_reason="", error_code="lease_expired")

        assert story.broken == []
        assert sends_without_a_call(story.history) == 1

    def test_memory_that_grows_in_the_first_minutes(self):
        story = Story().sent().stored().remembered([100, 150, 180, *[200] * 57])

        assert story.broken == []

    def test_a_reply_with_a_tool(self):
        """A step, a call and its result are one unit each, and the second step begins a paragraph."""
        seen = [*frames()[:1], [2, "step", ""], *([number + 1, name, text] for number, name, text in frames()[1:])]
        end = seen[-1][0]
        seen += [[end + 1, "tool_call", ""], [end + 2, "tool_result", ""], [end + 3, "step", ""]]
        seen += [[end + 9, "message", "\n\nAnd."], [None, "done", ""]]
        story = Story().called("begun", "done").read(seen, ending=ending(f"{TEXT}\n\nAnd."))
        middle = [[end + 2, "tool_result", ""], *seen[-3:]]
        story.read(middle, after=end + 1, view=2, ending=ending(f"{TEXT}\n\nAnd."))

        assert story.told("continued", conversation="c1", ending="done").broken == []

    def test_a_call_whose_worker_died(self):
        assert Story().called("begun", status="unknown").broken == []

    def test_a_call_that_nobody_has_allowed(self):
        assert Story().called(call="t1/1/0/answer", status="denied", runs=0).broken == []


class BreakingTests(SimpleTestCase):
    def test_a_tool_that_ran_twice(self):
        assert Story().called("begun", "begun", "done", runs=2).broken == ["tools_run_at_most_once"]

    def test_a_tool_that_ran_before_that_was_committed(self):
        assert Story().called("begun", status="cancelled", runs=0).broken == ["tools_run_at_most_once"]
        assert Story().called("begun", "done").told("execution", what="begun", call="t9", worker="worker0").broken == [
            "tools_run_at_most_once"
        ]

    def test_a_result_without_an_execution(self):
        assert Story().called("begun").broken == ["tools_run_at_most_once"]

    def test_a_call_that_ran_without_an_answer(self):
        story = Story().called("begun", "done", call="t1/1/0/answer")

        assert story.broken == ["denied_calls_do_not_run"]

        story.told("approval", reply="r1", call_id="call_0", approved=True, user="ana")

        assert story.broken == []

    def test_a_call_without_a_result(self):
        assert Story().called("begun", results=(), status="unknown").broken == ["calls_have_results"]
        assert Story().called("begun", status="running").broken == ["calls_have_results"]

    def test_a_prompt_that_the_provider_has_refused(self):
        call = {"step": 1, "deltas": [], "whole": False, "canaries": [ANA], "refused": "these tool_call_ids …"}

        assert Story().sent().stored().told("call", key="k1", **call).broken == [
            "calls_are_accepted_sends",
            "calls_have_results",
        ]

    def test_a_step_that_was_asked_twice(self):
        again = {"step": 2, "refused": "", "deltas": [], "whole": False, "canaries": [ANA]}

        assert Story().called("begun", "done").told("call", key="t1", **again).broken == ["calls_are_accepted_sends"]

    def test_a_gap_after_a_call(self):
        story = Story().called("begun", "done").read([[6 + len(TEXT), "message", "\nAnd."]], after=6 + len(TEXT) - 1)

        assert "views_see_what_the_provider_sent" in story.broken

    def test_a_conversation_that_does_not_go_on(self):
        story = Story().called("begun", "done").told("continued", conversation="c1", ending="failed")

        assert story.broken == ["conversations_with_tools_go_on"]

    def test_text_that_was_never_sent(self):
        story = Story().sent(whole=False).stored("0 other", status="interrupted", end_reason="shutdown")
        story.told("fault", name="terminate", target="worker0", seconds=0)

        assert story.broken == ["stored_text_is_what_the_provider_sent"]

    def test_a_completed_reply_that_is_not_whole(self):
        assert Story().sent().stored(TEXT[:-1]).broken == ["stored_text_is_what_the_provider_sent"]

    def test_a_gap(self):
        story = Story().sent().stored().read(frames()[:3] + frames()[4:])

        assert story.broken == ["views_see_what_the_provider_sent"]

    def test_a_repetition(self):
        story = Story().sent().stored().read(frames()[:3]).read(frames(position=3), after=5)

        assert story.broken == ["views_see_what_the_provider_sent"]

    def test_a_gap_that_the_positions_hide(self):
        wrong = frames()
        wrong[2] = [wrong[2][0], "message", "??"]

        assert Story().sent().stored().read(wrong).broken == ["views_see_what_the_provider_sent"]

    def test_an_ending_before_the_text_is_whole(self):
        story = Story().sent().stored().read([*frames()[:3], [None, "done", ""]], ending=ending())

        assert story.broken == ["views_see_what_the_provider_sent"]

    def test_two_endings(self):
        saved = TEXT[:4]
        story = Story().sent().stored().told("fault", name="pause", target="worker0", seconds=20)
        story.read([*frames(saved), [None, "interrupted", ""]], ending=ending(saved, "interrupted", "lease_expired"))

        assert "a_reply_ends_once" in story.broken

    def test_a_row_that_changes_after_its_ending(self):
        story = Story().sent().stored(later={"ended_at": "later"})

        assert story.broken == ["a_reply_ends_once"]

    def test_an_ending_without_a_cause(self):
        story = Story().sent().stored(status="stopped", end_reason="user")

        assert story.broken == ["endings_have_a_cause"]

    def test_a_second_call(self):
        story = Story().sent().stored().told("call", key="k1", deltas=[], whole=False, canaries=[ANA])

        assert story.broken == ["calls_are_accepted_sends"]

    def test_a_call_without_a_reply(self):
        story = Story().sent().stored().told("call", key="k2", deltas=[], whole=False, canaries=[ANA])

        assert story.broken == ["calls_are_accepted_sends"]

    def test_a_reply_that_was_shown_and_is_not_stored(self):
        assert "calls_are_accepted_sends" in Story().sent().read(frames()).broken

    def test_a_row_that_is_left(self):
        story = Story().sent().stored().told("left", table="live replies", count=1, some=["r1"])

        assert story.broken == ["nothing_is_left"]

    def test_a_view_that_waits_for_ever(self):
        story = Story().sent().stored().told("view", view=1, user="ana", reply="r1", state="open")

        assert story.broken == ["nothing_is_left"]

    def test_text_of_another(self):
        leak = Story().sent().stored().told("leak", user="ben", where="reply r1", canary=ANA)
        prompt = Story().sent(canaries=[ANA, BEN]).stored()

        assert leak.broken == prompt.broken == ["canaries_stay_with_their_owners"]

    def test_descriptors_that_stay_open(self):
        measured = {"threads": 9, "tasks": 2, "connections": 0}
        story = Story().sent().stored()
        story.told("process", worker="worker0", pid=1, when="before", descriptors=20, **measured)
        story.told("process", worker="worker0", pid=1, when="after", descriptors=60, **measured)

        assert story.broken == ["processes_come_to_rest"]

    def test_memory_that_goes_on_growing(self):
        assert Story().sent().stored().remembered(range(100, 160)).broken == ["memory_is_flat"]

    def test_an_internal_error(self):
        answer = {"method": "GET", "path": "x", "worker": "worker0", "status": 500, "code": "internal"}
        story = Story().sent().stored().told("answer", expected=False, **answer)

        assert story.broken == ["answers_are_expected"]

    def test_an_exception_that_nobody_caught(self):
        story = Story().sent().stored().told("log", worker="worker0", line="Traceback (most recent call last):")

        assert story.broken == ["workers_log_no_surprise"]


class PlantTests(SimpleTestCase):
    def test_each_bug_has_an_invariant_that_finds_it(self):
        assert set(FINDERS) == set(PLANTS)
        assert set(FINDERS.values()) <= {invariant.__name__ for invariant in INVARIANTS}
