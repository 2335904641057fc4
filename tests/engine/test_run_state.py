"""The table of a run's states, walked step by step."""

import itertools
from concurrent.futures import ThreadPoolExecutor

from django.test import SimpleTestCase

from streaming_chat.engine.run_state import STEPS, EndedFlag, RunState, StateMachine

# Every step that there may be, in words: from -> to.
ALLOWED = {
    "starting": {"receiving", "stopping", "concluded", "saved", "dismissed"},
    "receiving": {"stopping", "concluded", "saved", "dismissed"},
    "stopping": {"concluded", "saved", "dismissed"},
    "concluded": {"saved", "dismissed"},
    "saved": set(),
    "dismissed": set(),
}
# A shortest way into each state.
WAYS = {
    "starting": (),
    "receiving": ("receiving",),
    "stopping": ("stopping",),
    "concluded": ("concluded",),
    "saved": ("saved",),
    "dismissed": ("dismissed",),
}


def machine_in(state: str) -> StateMachine:
    machine = StateMachine()
    for step in WAYS[state]:
        machine.advance(RunState(step))
    return machine


class StateMachineTests(SimpleTestCase):
    def test_every_step_of_the_table_is_taken_and_every_other_is_refused(self):
        for here, there in itertools.product(ALLOWED, ALLOWED):
            with self.subTest(f"{here} -> {there}"):
                machine = machine_in(here)
                left = machine.advance(RunState(there))
                is_allowed = there in ALLOWED[here]

                assert left == (RunState(here) if is_allowed else None)
                assert machine.current.value == (there if is_allowed else here)

    def test_the_table_names_every_state(self):
        assert set(STEPS) == set(RunState)
        assert {state.value for state in RunState} == set(ALLOWED)

    def test_no_way_leads_back(self):
        """Declared in the order of a life."""
        order = list(RunState)

        assert all(order.index(after) > order.index(state) for state, steps in STEPS.items() for after in steps)

    def test_a_whole_life(self):
        machine = StateMachine()
        life = [machine.advance(state) for state in list(RunState)[1:5]]

        assert life == list(RunState)[:4]
        assert machine.current is RunState.SAVED


class EndedFlagTests(SimpleTestCase):
    def test_a_wait_ends_after_its_seconds_without_it(self):
        flag = EndedFlag()

        assert (flag.wait(0.001), flag.is_set()) == (False, False)

    def test_all_threads_that_wait_are_woken(self):
        flag = EndedFlag()
        with ThreadPoolExecutor(3) as threads:
            waits = [threads.submit(flag.wait, 10) for _thread in range(3)]
            flag.set()

        assert [wait.result() for wait in waits] == [True, True, True]
        assert (flag.wait(), flag.is_set()) == (True, True)
