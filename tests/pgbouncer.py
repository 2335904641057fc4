"""A real pgbouncer before a PostgreSQL of the tests, in transaction mode: no two transactions share a session.

Needs pgbouncer on PATH; root runs it as `nobody`, since it refuses to run as root.
"""

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from .postgres import _free_port
from .servers import wait_until

# As its manual's example; the times are short, since tests take the server behind it away.
_CONFIGURATION = """\
[databases]
* = host=127.0.0.1 port={upstream} user=postgres

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {sessions}
max_client_conn = 500
server_login_retry = 0.2
query_wait_timeout = 2
"""


class PgBouncer:
    """pgbouncer in a process of its own, always at the same address. url: of the database behind it.

    sessions: of the server, which all clients share.
    """

    def __init__(self, upstream: int, sessions: int = 4) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="streaming_chat_pgbouncer_", ignore_cleanup_errors=True)
        self.port = _free_port()
        self.url = f"postgres://postgres@127.0.0.1:{self.port}/postgres"
        folder = Path(self._folder.name)
        folder.chmod(0o755)
        self._file = folder / "pgbouncer.ini"
        self._file.write_text(_CONFIGURATION.format(upstream=upstream, port=self.port, sessions=sessions))
        self._file.chmod(0o644)

    def start(self) -> None:
        """Return once it takes connections."""
        program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
        user = {"user": "nobody", "extra_groups": []} if os.geteuid() == 0 else {}
        self._process = subprocess.Popen(
            [program, "-q", str(self._file)], cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **user
        )
        wait_until(self._is_listening)

    def stop(self) -> None:
        """End it at once, with the transactions that it carries."""
        # Not SIGQUIT, which a shell's background jobs ignore, and so would pgbouncer.
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *args: object) -> None:
        self.stop()
        self._folder.cleanup()

    def _is_listening(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True
