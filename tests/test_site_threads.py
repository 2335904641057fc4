"""The threads in which functions of a site are called: a call that hangs keeps no process from ending."""

import subprocess
import sys
import time

import pytest
from django.test import SimpleTestCase

_SCRIPT = """
import asyncio, threading, time
from django.conf import settings
settings.configure()
from streaming_chat.site_threads import SiteThreads

def slow(seconds):
    begun.set()
    time.sleep(seconds)
    print("done", flush=True)

async def call():
    task = asyncio.create_task(SiteThreads("test", 1).call(slow, {seconds}))
    await asyncio.to_thread(begun.wait)
    task.cancel()

begun = threading.Event()
asyncio.run(call())
"""


@pytest.mark.slow
class EndOfProcessTests(SimpleTestCase):
    def output(self, seconds):
        command = [sys.executable, "-c", _SCRIPT.replace("{seconds}", str(seconds))]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout

    def test_a_call_that_is_being_made_may_finish(self):
        assert self.output(1) == "done\n"

    def test_a_call_that_hangs_ends_with_the_process(self):
        started = time.monotonic()

        assert self.output(300) == ""
        assert time.monotonic() - started < 50
