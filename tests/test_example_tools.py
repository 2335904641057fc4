"""docs/examples/tools/: the site's own tests pass, its tools use its server of tickets, and docs/tools.md shows its code."""

import os
import re
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.test import SimpleTestCase

from .servers import wait_until
from .test_docs import ROOT

pytestmark = [pytest.mark.once, pytest.mark.slow]

EXAMPLE = ROOT / "docs" / "examples" / "tools"
# What a model would call, one after the other.
CALLS = """
from django.contrib.auth.models import User
from django.core.management import call_command
from streaming_chat.testing import call_tool
from shop.chat import tickets

call_command("migrate", run_syncdb=True, verbosity=0)
staff = User.objects.create_superuser("ana")
for name, arguments, options in (
    ("search_tickets", {"word": "PARCEL"}, {}),
    ("open_ticket", {"text": "No answer."}, {}),
    ("open_ticket", {"text": "No answer."}, {"approved": True}),
    ("search_tickets", {"word": "answer"}, {}),
):
    print(*call_tool(tickets, name, arguments, user=staff, **options), sep=" | ")
"""


class ToolsExampleTests(SimpleTestCase):
    def setUp(self):
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.environment = {
            **{key: value for key, value in os.environ.items() if key != "DATABASE_URL"},
            "DJANGO_SETTINGS_MODULE": "settings",
            "PYTHONPATH": os.pathsep.join(map(str, (EXAMPLE, ROOT))),
            "SQLITE_FILE": str(folder / "example.sqlite3"),
            "SQLITE_TEST_FILE": str(folder / "test.sqlite3"),
        }

    def manage(self, *arguments):
        """Run one of Django's commands; return what it printed."""
        command = [sys.executable, "-m", "django", *arguments]
        done = subprocess.run(command, env=self.environment, cwd=EXAMPLE, capture_output=True, text=True, check=False)

        assert done.returncode == 0, done.stdout + done.stderr

        return done.stdout + done.stderr

    @contextmanager
    def ticket_server(self):
        """Run the server of tickets, which has the settings' token."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        process = subprocess.Popen([sys.executable, str(EXAMPLE / "ticket_server.py"), str(port)])
        try:
            wait_until(lambda: process.poll() is not None or not self.is_refused(port), 60)
            self.environment["TICKETS_URL"] = f"http://127.0.0.1:{port}/mcp"
            yield
        finally:
            process.kill()
            process.wait()

    def is_refused(self, port):
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", port)) != 0

    def test_its_own_tests_and_checks(self):
        told = self.manage("test")

        assert re.search(r"Ran 1\d tests", told), told
        assert "no issues" in self.manage("check")

    def test_the_server_of_tickets(self):
        with self.ticket_server():
            told = self.manage("shell", "--verbosity", "0", "--command", CALLS).splitlines()

        assert [line.partition(" | ")[0] for line in told] == ["ok", "waiting", "ok", "ok"], told
        assert "The parcel of the order 7 is lost." in told[0]
        assert told[2] == "ok | The ticket 2 is open."
        assert "No answer." in told[3]

    def test_the_page_shows_its_code(self):
        cookbook = (ROOT / "docs" / "tools.md").read_text().partition("## Cookbook")[2]
        files = [EXAMPLE / "shop" / "chat.py", EXAMPLE / "shop" / "tests.py", EXAMPLE / "settings.py"]
        code = "\n".join(path.read_text() for path in files)
        blocks = re.findall(r"```python\n(.*?)```", cookbook, re.DOTALL)

        assert len(blocks) >= 4
        assert [block for block in blocks if block not in code] == []
