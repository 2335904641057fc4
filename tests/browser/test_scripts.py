"""The browser module without a browser: the tests of its parts that need no page, and that what is served is its source."""

import subprocess

from .bundles import FRONTEND, node


def run(*arguments: object) -> subprocess.CompletedProcess:
    """Run Node.js in the module's folder."""
    assert (FRONTEND / "node_modules").exists(), "frontend/node_modules is missing: run `npm ci` in frontend/ first."

    command = [node(), *map(str, arguments)]
    return subprocess.run(command, cwd=FRONTEND, capture_output=True, text=True, check=False)


class TestSource:
    def test_its_own_tests_pass(self):
        tested = run("--test", *sorted((FRONTEND / "tests").glob("*.test.mjs")))

        assert tested.returncode == 0, tested.stdout + tested.stderr

    def test_what_is_served_is_what_it_gives(self):
        """Also the licences; and the first load is within its budget."""
        checked = run("build.mjs", "--check")

        assert checked.returncode == 0, checked.stdout + checked.stderr
