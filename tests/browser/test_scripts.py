"""The built browser module that the app serves. The tests of its source that need no page run with `make lint-frontend`."""

import subprocess

from .bundles import FRONTEND, node


class TestBundles:
    def test_they_are_what_the_source_gives(self):
        """Also the licences; and chat.js is within its budget."""
        assert (FRONTEND / "node_modules").exists(), (
            "frontend/node_modules is missing: run `npm ci` in frontend/ first."
        )

        command = [node(), "build.mjs", "--check"]
        built = subprocess.run(command, cwd=FRONTEND, capture_output=True, text=True, check=False)

        assert built.returncode == 0, built.stdout + built.stderr
