"""The registry of a process's runs: which are expected, and that a child of a fork has none."""

import os
import uuid
import warnings
from unittest import mock

import pytest
from django.test import SimpleTestCase

from streaming_chat.db.uuid7 import uuid7
from streaming_chat.engine.runner import Runner, runner
from streaming_chat.engine.writer import writer
from tests.servers import wait_until


class ExpectingTests(SimpleTestCase):
    """Between the rows of a reply and its run there are milliseconds; a shutdown must not fall between them."""

    def setUp(self):
        self.runner = Runner()
        self.message_id = uuid7()

    def test_a_run_is_expected_until_it_starts(self):
        with self.runner.expecting(self.message_id):
            during = self.runner.is_expecting

        assert during
        assert self.runner.is_expecting

    def test_not_when_its_rows_were_not_made(self):
        with self.assertRaises(ZeroDivisionError), self.runner.expecting(self.message_id):
            raise ZeroDivisionError

        assert not self.runner.is_expecting

    def test_not_for_ever(self):
        """The request may die between the two."""
        with mock.patch("streaming_chat.engine.runner._EXPECTED_SECONDS", 0), self.runner.expecting(self.message_id):
            pass
        wait_until(lambda: not self.runner.is_expecting)

        assert self.runner._expected == {}


@pytest.mark.slow
class ForkTests(SimpleTestCase):
    def test_a_child_begins_anew(self):
        """Threads do not survive a fork, so what they were to save is the parent's alone."""
        worker = writer.worker
        runner._runs[uuid.uuid4()] = None
        self.addCleanup(runner.reset)
        with warnings.catch_warnings():
            # The test's other threads hold no lock that the child takes.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if not child:
            os._exit(0 if (runner.live, writer.worker == worker) == ([], False) else 1)

        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert len(runner.live) == 1
