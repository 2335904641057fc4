"""What docs/deployment.md shows is true: units, environment, database, and how workers are told to go."""

import configparser
import contextlib
import re
import runpy
import shlex
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import environ
import psutil
import psycopg
import pytest
from django.conf import settings
from django.core.management import call_command
from django.templatetags.static import static
from django.test import Client, SimpleTestCase, TransactionTestCase, override_settings

from streaming_chat.conf import SETTINGS as CHAT_SETTINGS

from .nginx import DOCUMENT, ROOT, documented
from .postgres import postgres
from .provider_server import Gate, ProviderServer, Script
from .servers import Browser, Exchange, Supervisor, held, site, wait_until
from .test_example_settings import run_with

pytestmark = pytest.mark.any_database

# Django's own, which are no variables.
SETTINGS = {"CONN_HEALTH_CHECKS", "CONN_MAX_AGE", "DATABASES"}
# Workers load the site anew, on a machine that does much else.
PATIENCE = 40


def unit(name: str) -> configparser.ConfigParser:
    """Return the unit that the document shows under this name."""
    text = DOCUMENT.read_text()
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str
    parser.read_string(re.search(rf"/etc/systemd/system/{name}`.*?```ini\n(.*?)```", text, re.DOTALL)[1])
    return parser


def environment() -> dict[str, str]:
    """Return the environment that the document shows."""
    (shown,) = documented("sh")
    return dict(line.split("=", 1) for line in shown.splitlines())


class Recorder(dict):
    """An environment that records which variables are asked for."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.asked: set[str] = set()

    def __contains__(self, name: object) -> bool:
        self.asked.add(str(name))
        return super().__contains__(name)

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        return super().__getitem__(name)


class EnvironmentTests(SimpleTestCase):
    def test_each_variable_is_one_that_the_settings_read(self):
        named = set(re.findall(r"`([A-Z][A-Z_]+)(?:=[^`]*)?`", DOCUMENT.read_text())) - SETTINGS | set(environment())
        recorder = Recorder({**environment(), "ANTHROPIC_API_KEY": "sk"})
        self.addCleanup(setattr, environ.Env, "ENVIRON", environ.Env.ENVIRON)
        environ.Env.ENVIRON = recorder
        runpy.run_path(str(ROOT / "chatproject" / "settings.py"))
        del recorder["REDIS_URL"]
        runpy.run_path(str(ROOT / "chatproject" / "settings.py"))

        assert {"SECRET_KEY", "DATABASE_URL", "REDIS_URL", "LISTEN_DSN", "ANTHROPIC_BASE_URL"} <= named
        assert named - set(CHAT_SETTINGS) <= recorder.asked, named - recorder.asked
        assert {name for name in environment() if name.startswith("STREAMING_CHAT")} <= set(CHAT_SETTINGS)

    def test_each_setting_that_is_named_is_one(self):
        named = re.findall(r"STREAMING_CHAT_[A-Z_]+", DOCUMENT.read_text())

        assert set(named) <= set(CHAT_SETTINGS)

    @pytest.mark.slow
    def test_the_example_is_fit_for_production(self):
        secret = "0123456789-abcdefghijklmnopqrstuvwxyz-0123456789-ABCDEFGHIJ"
        done = run_with(
            {**environment(), "SECRET_KEY": secret}, "manage.py", "check", "--deploy", "--fail-level", "WARNING"
        )

        assert done.returncode == 0, done.stderr


class DatabaseTests(SimpleTestCase):
    @pytest.mark.slow
    def test_the_parameters_of_the_address_are_postgresqls(self):
        """And the statement in the document does what it says."""
        shown = environ.Env.db_url_config(environment()["DATABASE_URL"] + "&DISABLE_SERVER_SIDE_CURSORS=true")
        (statement,) = documented("sql")
        with postgres() as url:
            with psycopg.connect(url, **shown["OPTIONS"], autocommit=True) as direct:
                direct.execute(statement.replace("ROLE chat", "ROLE postgres"))
                keepalive = direct.execute("SHOW tcp_keepalives_idle").fetchone()
            with psycopg.connect(url) as direct:
                patience = direct.execute("SHOW idle_in_transaction_session_timeout").fetchone()

        assert shown["DISABLE_SERVER_SIDE_CURSORS"]
        assert shown["OPTIONS"]["tcp_user_timeout"] == 10_000
        assert keepalive
        assert patience == ("1min",)


class StaticFilesTests(SimpleTestCase):
    def test_whitenoise_serves_the_script(self):
        """By its hashed name, for ever."""
        site: dict[str, Any] = {
            "BASE_DIR": Path(self.enterContext(tempfile.TemporaryDirectory())),
            "MIDDLEWARE": [*settings.MIDDLEWARE],
        }
        [shown] = [block for block in documented("python") if "whitenoise" in block]
        exec(shown, site)  # noqa: S102  (the page's own example)
        with override_settings(**{name: value for name, value in site.items() if name.isupper()}):
            call_command("collectstatic", interactive=False, verbosity=0)
            url = static("streaming_chat/chat.js")
            response = Client().get(url)

        assert re.fullmatch(r"/static/streaming_chat/chat\.[0-9a-f]{12}\.js", url)
        assert b"streaming-chat" in b"".join(response)
        assert "immutable" in response["Cache-Control"]


class UnitTests(SimpleTestCase):
    def test_systemd_waits_for_the_replies(self):
        service = unit("chat.service")["Service"]
        words = shlex.split(service["ExecStart"])
        graceful = int(words[words.index("--timeout-graceful-shutdown") + 1])

        assert int(service["TimeoutStopSec"]) > CHAT_SETTINGS["STREAMING_CHAT_DRAIN_SECONDS"].default + 5 + graceful
        assert service["KillMode"] == "mixed"
        assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"

    def test_the_state_is_where_the_environment_says(self):
        for name in ("chat.service", "chat-recover.service"):
            assert f"/var/lib/{unit(name)['Service']['StateDirectory']}" == environment()["STREAMING_CHAT_JOURNAL_DIR"]

    def test_the_timer_has_its_service(self):
        assert unit("chat-recover.timer")["Timer"]["OnCalendar"]
        assert unit("chat-recover.service")["Service"]["ExecStart"].endswith("manage.py recoverreplies")


class ServerTests(TransactionTestCase):
    """The commands of the document, with two workers and a port of their own."""

    def setUp(self) -> None:
        self.provider = self.enterContext(ProviderServer())

    def test_replies_finish_when_the_main_process_is_told_to_go(self):
        for command in commands():
            with self.subTest(command), self.open_reply(command) as (server, exchange, gate):
                server.terminate()
                wait_until(lambda server=server: not is_healthy(server))
                gate.open()

                assert exchange.rest().text == "One two", server.log
                assert [frame.event for frame in exchange.endings] == ["done"]
                assert server.process.wait(20) in (0, -signal.SIGTERM), server.log

    def test_replies_end_at_once_when_every_process_is_told(self):
        """What KillMode=mixed is for: the main process tells its workers, too, which is a second signal."""
        with self.open_reply(commands()[0]) as (server, exchange, _gate):
            for process in [*psutil.Process(server.process.pid).children(recursive=True), server.process]:
                process.send_signal(signal.SIGTERM)
            exchange.rest()

            assert [frame.event for frame in exchange.endings] == ["interrupted"]

    def test_a_reload_replaces_the_workers_and_keeps_their_replies(self):
        for command in commands():
            with self.subTest(command), self.open_reply(command) as (server, exchange, gate):
                before = workers(server)
                server.process.send_signal(signal.SIGHUP)
                wait_until(lambda server=server, before=before: has_told(server, before), PATIENCE)
                gate.open()

                assert exchange.rest().text == "One two", server.log
                wait_until(lambda server=server, before=before: not workers(server) & before, PATIENCE)
                assert Browser(server.port, self.browser.user).send("Hello").rest().text == "One two"

    @contextlib.contextmanager
    def open_reply(self, command: list[str]) -> Iterator[tuple[Supervisor, Exchange, Gate]]:
        """Give a server of this command, a reply that it writes, and the gate that holds it after its first word."""
        gate = Gate()
        named = {**site(self.provider), "STREAMING_CHAT_DRAIN_SECONDS": PATIENCE}
        self.provider.clear()
        self.provider.script(Script(["One ", "two"], gates={1: gate}))
        self.provider.default = Script(["One ", "two"])
        with held(gate), Supervisor(named, command=command) as server:
            self.browser = Browser(server.port)
            self.addCleanup(self.browser.close)
            yield server, self.browser.send("Hello").until_text("One "), gate


def commands() -> list[list[str]]:
    """Return the commands that the document shows to start the app, as they run here."""
    others = re.findall(r"^\| `(gunicorn [^`]+)`", DOCUMENT.read_text(), re.MULTILINE)
    shown = [unit("chat.service")["Service"]["ExecStart"].rpartition("/")[2], *others]

    assert len(shown) == 3

    return [_here(shlex.split(command)) for command in shown]


def _here(words: list[str]) -> list[str]:
    replaced = {
        "chatproject.asgi:application": "tests.asgi:application",
        "chatproject.asgi": "tests.asgi:application",
        "chatproject.wsgi": "django.core.wsgi:get_wsgi_application()",
        "8000": "0",
        "4": "2",
    }
    # uvicorn gives up a reload if a worker has not loaded the site after 5 s.
    others = ["--bind", "127.0.0.1:0"] if words[0] == "gunicorn" else ["--timeout-worker-healthcheck", str(PATIENCE)]
    return [sys.executable, "-m", words[0], *(replaced.get(word, word) for word in words[1:]), *others]


def workers(server: Supervisor) -> set[int]:
    """Return the processes that serve for a supervisor."""
    return {child.pid for child in psutil.Process(server.process.pid).children(recursive=True) if _is_worker(child)}


def _is_worker(process: psutil.Process) -> bool:
    """Whether it lives and serves; multiprocessing's tracker does not."""
    with contextlib.suppress(psutil.Error):
        return "resource_tracker" not in "".join(process.cmdline())
    return False


def has_told(server: Supervisor, before: set[int]) -> bool:
    """Whether the worker that writes the reply has been told to go.

    It says so to whom it meets; gunicorn's threaded one meets nobody any more, but has all told at once, and the idle one
    ends.
    """
    return not is_healthy(server) or ("gthread" in server.process.args and bool(before - workers(server)))


def is_healthy(server: Supervisor) -> bool:
    """Whether a new request finds it so."""
    try:
        browser = Browser(server.port)
        return browser.get("health").status == 200
    except (OSError, IndexError):
        return False
