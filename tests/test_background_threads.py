"""Background threads go on after an error, and are started again when they have died."""

import threading

import pytest
from django.test import SimpleTestCase

from streaming_chat import background_threads
from streaming_chat.background_threads import BackgroundThread
from tests.provider_server import TIMEOUT
from tests.servers import wait_until


class Turns:
    """What a thread calls: the first turn raises, the others tell and wait."""

    def __init__(self, error: BaseException) -> None:
        self.error: BaseException | None = error
        self.threads: list[threading.Thread] = []
        self.turned = threading.Event()

    def __call__(self) -> None:
        self.threads.append(threading.current_thread())
        error, self.error = self.error, None
        if error is not None:
            raise error
        self.turned.set()
        threading.Event().wait()


class BackgroundThreadTests(SimpleTestCase):
    def test_the_turn_after_an_error_follows(self):
        self.addCleanup(setattr, background_threads, "_PAUSE_SECONDS", background_threads._PAUSE_SECONDS)
        background_threads._PAUSE_SECONDS = 0
        turns = Turns(ValueError("…"))
        with self.assertLogs("streaming_chat", "ERROR") as logs:
            BackgroundThread("worker", turns).start()

            assert turns.turned.wait(TIMEOUT)

        assert len(set(turns.threads)) == 1
        assert "worker" in logs.output[0]
        assert "ValueError" in logs.output[0]

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_a_dead_thread_is_started_again(self):
        turns = Turns(SystemExit())
        thread = BackgroundThread("worker", turns)
        thread.start()
        wait_until(lambda: thread.is_dead)
        with self.assertLogs("streaming_chat", "ERROR") as logs:
            thread.start()

            assert turns.turned.wait(TIMEOUT)

        assert len(set(turns.threads)) == 2
        assert not thread.is_dead
        assert "worker had ended" in logs.output[0]

    def test_starting_it_twice_is_starting_it_once(self):
        turns = Turns(ValueError("…"))
        turns.error = None
        thread = BackgroundThread("worker", turns)
        starters = [threading.Thread(target=thread.start) for _each in range(8)]
        for starter in starters:
            starter.start()
        for starter in starters:
            starter.join()

        assert turns.turned.wait(TIMEOUT)
        assert len(turns.threads) == 1

    def test_it_is_not_dead_before_it_is_started(self):
        assert not BackgroundThread("worker", Turns(ValueError("…"))).is_dead
