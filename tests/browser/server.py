"""uvicorn in a process of its own, which a test ends in any way and starts again where it was."""

import os
import signal
import socket
import subprocess
import sys
from typing import Self

from .bundles import ROOT

_SECONDS = 20


class Server:
    """Serves the site of the browser tests. environment: see settings.py. root: its address, without a slash at its end."""

    def __init__(self, **environment: str) -> None:
        self.port = 0
        self._environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.browser.settings", **environment}

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *args: object) -> None:
        self.terminate()
        try:
            self.wait()
        finally:
            self._process.kill()

    def start(self) -> None:
        """Start it, on a free port the first time and on the same one from then on."""
        # Ours is closed at once: where the server is gone, a connection is refused instead of waiting for nobody.
        with socket.create_server(("127.0.0.1", self.port), backlog=128) as listener:
            self.port = listener.getsockname()[1]
            command = [
                sys.executable,
                "-m",
                "uvicorn",
                "tests.browser.asgi:application",
                "--fd",
                str(listener.fileno()),
            ]
            options = ["--log-level", "warning", "--timeout-graceful-shutdown", "2"]
            self._process = subprocess.Popen(
                [*command, *options], cwd=ROOT, env=self._environment, pass_fds=[listener.fileno()]
            )

    def terminate(self) -> None:
        """Send SIGTERM; it may finish what it does."""
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL, and wait until it is dead."""
        self._process.kill()
        self.wait()

    def wait(self) -> None:
        """Wait until it has ended."""
        self._process.wait(_SECONDS)
