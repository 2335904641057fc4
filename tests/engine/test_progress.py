"""The saving of a run: every transition between its states, and what is known of it."""

import itertools
import threading
from types import SimpleNamespace

from django.test import SimpleTestCase

from streaming_chat.engine.progress import TRANSITIONS, Progress, SavingState
from streaming_chat.protocol import endings

FINAL = {SavingState.SAVED, SavingState.GIVEN_UP, SavingState.HANDED_OVER}


def make_progress(state=SavingState.OPEN, **run) -> Progress:
    progress = Progress(
        SimpleNamespace(**{"outcome": None, "is_urgent": False, "weight": 0, "own_index": 1, "own_position": 1, **run})
    )
    progress.state = state
    return progress


class TransitionTests(SimpleTestCase):
    def test_every_transition_is_made_or_refused_as_the_table_says(self):
        for state, to in itertools.product(SavingState, SavingState):
            with self.subTest(f"{state.name} to {to.name}"):
                progress = make_progress(state)
                is_moved = progress.move(to)

                assert is_moved == (to in TRANSITIONS[state])
                assert progress.state is (to if is_moved else state)

    def test_the_table_is_this_one(self):
        """A reply has one final state, and an ending whose commit is in flight is not given up."""
        table = {(state.name, to.name) for state, allowed in TRANSITIONS.items() for to in allowed}

        assert table == {
            ("OPEN", "COMMITTING"),
            ("OPEN", "GIVEN_UP"),
            ("OPEN", "HANDED_OVER"),
            ("COMMITTING", "OPEN"),
            ("COMMITTING", "SAVED"),
            ("COMMITTING", "OVERDUE"),
            ("COMMITTING", "HANDED_OVER"),
            ("OVERDUE", "OPEN"),
            ("OVERDUE", "SAVED"),
            ("OVERDUE", "GIVEN_UP"),
            ("OVERDUE", "HANDED_OVER"),
        }

    def test_nothing_follows_a_final_state(self):
        assert {state for state in SavingState if make_progress(state).is_final} == FINAL

    def test_one_of_several_threads_moves_it_to_a_final_state(self):
        """Whichever thread does tells the readers, so it must be one."""
        for _round in range(200):
            progress = make_progress(SavingState.OVERDUE)
            start = threading.Barrier(len(FINAL))
            moved = []

            def move(to, progress=progress, start=start, moved=moved):
                start.wait()
                moved.append(progress.move(to))

            threads = [threading.Thread(target=move, args=(state,)) for state in FINAL]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

            assert sorted(moved) == [False, False, True]


class ProgressTests(SimpleTestCase):
    def test_what_is_not_saved_is_weighed(self):
        progress = make_progress(weight=105)

        assert progress.unsaved == 105

        progress.advance(2, 6, 105)

        assert progress.unsaved == 0

    def test_the_ending_saves_the_whole_reply_once_more(self):
        progress = make_progress(weight=105)
        progress.advance(2, 6, 100)
        before = progress.to_save
        progress.run.outcome = endings.stopped("user")

        assert (before, progress.to_save) == (5, 105)

    def test_what_its_run_says_and_a_request_are_urgent(self):
        requested = make_progress()
        requested.is_flush_requested = True

        assert not make_progress().is_urgent
        assert make_progress(is_urgent=True).is_urgent
        assert requested.is_urgent
