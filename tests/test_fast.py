"""The marker `fast`: what it is put on, and that a fast test fails where it does what it may not."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from django.test import SimpleTestCase

pytestmark = [pytest.mark.once, pytest.mark.slow]

ROOT = Path(__file__).resolve().parent.parent
TESTS = """
import asyncio, socket, subprocess, time
import pytest
from django.test import SimpleTestCase, TestCase, TransactionTestCase

class Simple(SimpleTestCase):
    def test_nothing(self): pass
    def test_short_sleep(self): time.sleep(0.001)
    def test_sleep(self): time.sleep(0.06)
    async def test_async_sleep(self): await asyncio.sleep(0.06)
    async def test_sleep_in_a_thread(self): await asyncio.to_thread(time.sleep, 0.06)
    def test_process(self): subprocess.run(["true"])
    def test_server(self): socket.create_server(("127.0.0.1", 0)).close()
    @pytest.mark.slow
    def test_marked(self): time.sleep(0.06)

class ClassServer(SimpleTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        socket.create_server(("127.0.0.1", 0)).close()
    def test_nothing(self): pass

class Rows(TestCase):
    def test_nothing(self): pass

class Flushed(TransactionTestCase):
    def test_sleep(self): time.sleep(0.06)
"""


class FastTests(SimpleTestCase):
    def run_tests(self, *options: str) -> dict[str, str]:
        """Return what became of each of the tests above: its name in its class, then pytest's word."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "test_some.py")
            file.write_text(TESTS)
            command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", folder]
            command += ["-p", "tests.conftest", "-p", "no:cacheprovider", "-v", *options, str(file)]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        words = [line.partition("::")[2].split() for line in done.stdout.splitlines() if "::" in line and "%]" in line]
        return {words[0]: words[1] for words in words}

    def test_what_is_fast(self):
        assert set(self.run_tests("-m", "fast and not browser", "-k", "nothing or marked or Flushed")) == {
            "Simple::test_nothing",
            "ClassServer::test_nothing",
            "Rows::test_nothing",
        }

    def test_a_fast_test_fails_where_it_starts_something_or_sleeps(self):
        assert self.run_tests() == {
            "Simple::test_nothing": "PASSED",
            "Simple::test_short_sleep": "PASSED",
            "Simple::test_sleep": "FAILED",
            "Simple::test_async_sleep": "FAILED",
            "Simple::test_sleep_in_a_thread": "FAILED",
            "Simple::test_process": "FAILED",
            "Simple::test_server": "FAILED",
            "Simple::test_marked": "PASSED",
            "ClassServer::test_nothing": "ERROR",
            "Rows::test_nothing": "PASSED",
            "Flushed::test_sleep": "PASSED",
        }
