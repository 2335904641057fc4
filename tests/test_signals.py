"""Signals run on a thread of their own, also in a process that was forked after the first signal."""

import os
import threading
import uuid
import warnings

import pytest
from django.test import SimpleTestCase

from streaming_chat.models import Message
from streaming_chat.signals import announce, reply_started

from .provider_server import TIMEOUT


class AnnounceTests(SimpleTestCase):
    def setUp(self):
        self.received = threading.Event()
        self.said = {}
        reply_started.connect(self.receive)
        self.addCleanup(reply_started.disconnect, self.receive)

    def receive(self, sender, signal, **ids):
        self.said = {"sender": sender, "thread": threading.current_thread().name, **ids}
        self.received.set()

    def announce(self) -> uuid.UUID:
        message = uuid.uuid4()
        announce(reply_started, Message, message=message)
        return message

    def test_receivers_run_on_a_thread_of_their_own(self):
        message = self.announce()

        assert self.received.wait(TIMEOUT)
        assert (self.said["sender"], self.said["message"]) == (Message, message)
        assert self.said["thread"].startswith("streaming_chat.signals")

    def test_a_receiver_that_fails_harms_no_other(self):
        def fail(sender, **ids):
            raise ZeroDivisionError

        reply_started.connect(fail)
        self.addCleanup(reply_started.disconnect, fail)
        with self.assertLogs("django.dispatch", "ERROR"):
            self.announce()
            has_come = self.received.wait(TIMEOUT)
            self.received.clear()
            self.announce()

            assert self.received.wait(TIMEOUT)
        assert has_come

    @pytest.mark.slow
    def test_a_child_of_a_fork_has_a_thread_of_its_own(self):
        """Threads do not survive a fork: what a child hands to the parent's would never run."""
        self.announce()
        assert self.received.wait(TIMEOUT)
        self.received.clear()
        with warnings.catch_warnings():
            # The test's other threads hold no lock that the child takes.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if not child:
            self.announce()
            os._exit(0 if self.received.wait(TIMEOUT) else 1)

        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
