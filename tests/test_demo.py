"""`make demo`: the site as its visitors first meet it, in a process of its own."""

import contextlib
import signal
import socket
import sqlite3
import tempfile
import urllib.request

import pytest
from django.test import SimpleTestCase

from .demo import demo, passwords_in, read_until_address

pytestmark = [pytest.mark.any_database, pytest.mark.slow]


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
                printed.append(passwords_in(read_until_address(process)[1]))
            with contextlib.closing(sqlite3.connect(f"{self.folder}/demo.sqlite3")) as database:
                rows = database.execute("SELECT id, last_status FROM streaming_chat_conversation ORDER BY id")
                conversations.append(rows.fetchall())

        assert list(printed[0]) == ["staff", "reviewer", "demo"]
        assert printed[0] == printed[1]
        assert conversations[0] == conversations[1]
        assert {status for _, status in conversations[0]} == {"completed", "stopped", "interrupted", "failed"}

    def test_more_data_are_added_to_it_with_their_search_and_statistics(self):
        arguments = ["--conversations", "40"]
        with demo(self.folder, arguments=arguments) as process:
            printed, complaint = process.communicate()
        with contextlib.closing(sqlite3.connect(f"{self.folder}/demo.sqlite3")) as database:

            def count(table):
                return database.execute(f"SELECT COUNT(*) FROM streaming_chat_{table}").fetchone()[0]  # noqa: S608

            conversations, entries, messages, days = map(
                count, ("conversation", "searchentry", "message WHERE text <> ''", "dailyusage")
            )

        assert (process.returncode, complaint) == (0, "")
        assert "40 conversations with" in printed
        assert conversations > 40
        # The titles have no entries of their own: each is the beginning of a message.
        assert entries == messages
        assert days >= 280

    def test_a_number_of_conversations_must_be_one(self):
        with demo(self.folder, arguments=["--conversations", "x"]) as process:
            _, complaint = process.communicate()

        assert "Must be a whole number from 1 to 10000000, got 'x'" in complaint
        assert "Traceback" not in complaint
        assert process.returncode == 1

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
