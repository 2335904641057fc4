"""`--last-failed`, by which .ci/run runs again what has failed: every failure of the first run, or the second hides one."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from django.test import SimpleTestCase

pytestmark = [pytest.mark.once, pytest.mark.slow]

ROOT = Path(__file__).resolve().parent.parent
TESTS = """
from django.test import SimpleTestCase

class Some(SimpleTestCase):
    def test_passes(self): pass
    def test_fails(self): assert 0
    def test_passes_but_for_a_subtest(self):
        with self.subTest(1): assert 0
        with self.subTest(2): pass
"""


class LastFailedTests(SimpleTestCase):
    def setUp(self):
        self.folder = self.enterContext(tempfile.TemporaryDirectory())

    def run_tests(self, *options: str) -> set[str]:
        """Return the tests above that were begun."""
        file = Path(self.folder, "test_some.py")
        file.write_text(TESTS)
        command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", self.folder]
        command += ["-p", "tests.conftest", "-o", f"cache_dir={self.folder}/cache", "-v", *options, str(file)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        return {word.partition("Some::")[2] for word in done.stdout.split() if "Some::" in word}

    def test_a_test_of_which_only_a_subtest_failed_runs_again(self):
        """pytest forgets it, because the test itself passes. The first run is by workers, as in .ci/run."""
        assert len(self.run_tests("-n", "2")) == 3
        assert self.run_tests("--last-failed") == {"test_fails", "test_passes_but_for_a_subtest"}
        assert self.run_tests("--last-failed") == {"test_fails", "test_passes_but_for_a_subtest"}
