"""The browser module without a browser: the tests of its parts that need no page, and that what is served is its source."""

import shutil
import subprocess
from pathlib import Path

FRONTEND = Path(__file__).resolve().parent.parent.parent / "frontend"


def run(*command: str | Path) -> subprocess.CompletedProcess:
    """Run a command of Node.js in the module's folder."""
    node = shutil.which("node")

    assert node, "the browser tests need Node.js 20 or newer on PATH."
    assert (FRONTEND / "node_modules").is_dir(), "run `npm ci` in frontend/ first; `make browser` does."

    return subprocess.run([node, *command], cwd=FRONTEND, capture_output=True, text=True, check=False)


class TestSource:
    def test_its_own_tests_pass(self):
        tested = run("--test", *sorted((FRONTEND / "tests").glob("*.test.mjs")))

        assert tested.returncode == 0, tested.stdout + tested.stderr

    def test_what_is_served_is_what_it_gives(self):
        """Also the licences; and the first load is within its budget."""
        checked = run("build.mjs", "--check")

        assert checked.returncode == 0, checked.stdout + checked.stderr
