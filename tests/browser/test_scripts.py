"""The built browser modules. The tests of their source that need no page run with `make lint-frontend`."""

import subprocess

from .bundles import FRONTEND, node


class TestBundles:
    def test_they_are_what_the_source_gives(self):
        """Also the licences and the types; and chat.js and client.js are within their budgets."""
        assert (FRONTEND / "node_modules").exists(), (
            "frontend/node_modules is missing: run `npm ci` in frontend/ first."
        )

        command = [node(), "build.mjs", "--check"]
        built = subprocess.run(command, cwd=FRONTEND, capture_output=True, text=True, check=False)

        assert built.returncode == 0, built.stdout + built.stderr


class TestTypes:
    def test_programs_with_the_client_are_checked(self):
        """frontend/tests/client-types.ts has such programs, also wrong ones."""
        command = [node(), "node_modules/typescript/bin/tsc", "--project", "."]
        checked = subprocess.run(command, cwd=FRONTEND, capture_output=True, text=True, check=False)

        assert checked.returncode == 0, checked.stdout
