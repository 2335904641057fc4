"""`make demo`: the site as its visitors first meet it, in a process of its own."""

import contextlib
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import SimpleTestCase

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parent.parent


@contextlib.contextmanager
def demo(folder: str, port: int = 0) -> Iterator[subprocess.Popen]:
    """Start the demo with its database in this folder; end it with the block."""
    environment = {
        "PATH": os.environ["PATH"],
        "PORT": str(port),
        "SECRET_KEY": "the same at every start",
        "DATABASE_URL": f"sqlite:///{folder}/demo.sqlite3",
        "PYTHONUNBUFFERED": "1",
    }
    command = [sys.executable, "-m", "chatproject.demo"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def read_until_address(process: subprocess.Popen) -> tuple[str, str]:
    """Return the address that the demo prints when it is ready, and everything printed before it."""
    printed = ""
    for line in process.stdout:
        printed += line
        if found := re.search(r"http://127\.0\.0\.1:\d+/", line):
            return found[0], printed
    raise AssertionError(f"the demo ended before it said where it is:\n{printed}{process.stderr.read()}")


class DemoTests(SimpleTestCase):
    def setUp(self):
        self.folder = self.enterContext(tempfile.TemporaryDirectory())

    def test_it_says_where_it_is_and_serves_pages_and_static_files(self):
        with demo(self.folder) as process:
            address, _ = read_until_address(process)
            with urllib.request.urlopen(address) as response:
                home = response.read().decode()
            with urllib.request.urlopen(f"{address}static/chatproject/site.css") as response:
                style = response.headers["Content-Type"]

        assert "never lost" in home
        assert style == "text/css"

    def test_a_second_start_keeps_users_passwords_and_transcripts(self):
        printed, conversations = [], []
        for _ in range(2):
            with demo(self.folder) as process:
                printed.append(re.findall(r"^(\w+) +password (\w+)", read_until_address(process)[1], re.MULTILINE))
            with contextlib.closing(sqlite3.connect(f"{self.folder}/demo.sqlite3")) as database:
                rows = database.execute("SELECT id, last_status FROM streaming_chat_conversation ORDER BY id")
                conversations.append(rows.fetchall())

        assert [name for name, _ in printed[0]] == ["staff", "reviewer", "demo"]
        assert printed[0] == printed[1]
        assert conversations[0] == conversations[1]
        assert {status for _, status in conversations[0]} == {"completed", "stopped", "interrupted", "failed"}

    def test_visitors_chat_and_it_says_so(self):
        with demo(self.folder) as process:
            address, printed = read_until_address(process)
            with urllib.request.urlopen(f"{address}article/") as response:
                article = response.read().decode()

        assert "Visitors chat without an account" in printed
        assert 'layout="corner"' in article
        assert "Sign in to chat." not in article

    def test_a_port_that_is_taken_is_said_plainly(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with demo(self.folder, port) as process:
                _, complaint = process.communicate()

        assert f"Port {port} cannot be used" in complaint
        assert "Traceback" not in complaint
        assert process.returncode == 1

    def test_an_interrupt_ends_it_without_a_traceback(self):
        with demo(self.folder) as process:
            address, _ = read_until_address(process)
            # An answer shows that the server runs, not only that it listens.
            urllib.request.urlopen(address).close()
            process.send_signal(signal.SIGINT)
            _, complaint = process.communicate()

        assert process.returncode == 0
        assert complaint == ""
