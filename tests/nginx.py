"""A real nginx before a server of the tests: the configuration that docs/deployment.md shows, with other ports and paths.

    with ProcessServer({…}) as server, Nginx(server.port) as nginx:
        browser = ProxiedBrowser(nginx)
        browser.send("Hello").until_text("a")

Around the document's configuration stands what Debian's nginx.conf says: gzip on, everything else as nginx has it by
itself. Needs nginx, openssl and a curl that speaks HTTP/2 on PATH; root or not.
"""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Self

from django.conf import settings

from .servers import _CSRF, Browser, Exchange, wait_until

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "deployment.md"
HTTP2, HTTP1 = "--http2", "--http1.1"
# Below 32768, where Linux begins to hand out ports for outgoing connections.
_PORTS = range(20_000, 32_000)

# As /etc/nginx/nginx.conf of Debian 12; the paths are what it takes to run without root.
_AROUND = """\
worker_processes 2;
pid {folder}/nginx.pid;
events {{
    worker_connections 768;
}}
http {{
    sendfile on;
    tcp_nopush on;
    types_hash_max_size 2048;
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    ssl_prefer_server_ciphers on;
    gzip on;
    log_format protocols '$server_protocol $status $request_method $uri';
    access_log {folder}/access.log protocols;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""


def documented(language: str) -> list[str]:
    """Return the fenced blocks of this language that the document shows."""
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)


class Nginx:
    """nginx in a process of its own, before a server on this port.

    http: further directives for its http block. location: for the location of the app. without: what of the document's
    configuration is left out. port: of HTTPS; plain_port: of HTTP. static: the folder that it serves at /static/.
    """

    def __init__(self, upstream: int, *, http: str = "", location: str = "", without: tuple[str, ...] = ()) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="streaming_chat_nginx_", ignore_cleanup_errors=True)
        self.folder = Path(self._folder.name)
        self.folder.chmod(0o755)
        self.static = self.folder / "staticfiles"
        self.static.mkdir()
        self.port, self.plain_port = _free_ports(2)
        self.certificate = self.folder / "certificate.pem"
        make_certificate(self.folder)
        (shown,) = documented("nginx")
        site = _adapted(shown, self._replacements(upstream), without)
        (self.folder / "site.conf").write_text(http + site.replace("location / {", f"location / {{\n{location}"))
        around = _AROUND.format(folder=self.folder)
        # Without root nginx runs as whoever started it.
        (self.folder / "nginx.conf").write_text(("user www-data;\n" if os.geteuid() == 0 else "") + around)

    def __enter__(self) -> Self:
        self._run("-t")
        self._process = subprocess.Popen(self._command("-g", "daemon off;"))
        wait_until(self._is_listening)
        return self

    def __exit__(self, *args: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()
        self._folder.cleanup()

    @property
    def url(self) -> str:
        """Where the app is, over HTTPS."""
        return f"https://localhost:{self.port}/chat/"

    @property
    def requests(self) -> list[str]:
        """What it has logged: protocol, status, method and path of each request that is over."""
        return (self.folder / "access.log").read_text().splitlines()

    def _replacements(self, upstream: int) -> dict[str, str]:
        """Return what stands in the document, each once, and what takes its place."""
        return {
            "127.0.0.1:8000": f"127.0.0.1:{upstream}",
            "listen 80;": f"listen 127.0.0.1:{self.plain_port};",
            "listen 443 ": f"listen 127.0.0.1:{self.port} ",
            "/etc/ssl/certs/chat.example.com.pem": str(self.certificate),
            "/etc/ssl/private/chat.example.com.key": str(self.folder / "key.pem"),
            "/srv/chat/staticfiles/": f"{self.static}/",
            "https://$host$": f"https://$host:{self.port}$",
        }

    def _command(self, *arguments: str) -> list[str]:
        path = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
        assert path, "these tests need nginx on PATH."
        return [path, "-p", str(self.folder), "-c", "nginx.conf", "-e", str(self.folder / "error.log"), *arguments]

    def _run(self, *arguments: str) -> None:
        done = subprocess.run(self._command(*arguments), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def _is_listening(self) -> bool:
        assert self._process.poll() is None, (self.folder / "error.log").read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


class CurlExchange(Exchange):
    """One request by curl, and the answer as it comes. options: curl's own."""

    def __init__(self, method: str, url: str, headers: dict[str, str], body: bytes | None, *options: str) -> None:
        self.writes = []
        self.frames = []
        self.is_ended = False
        self._status = 0
        self._rest = b""
        # -N: nothing waits in curl's own buffer. Expect: a large body is not announced first.
        command = ["curl", "-sS", "-N", "-i", *options, "-X", method, "-H", "Expect:"]
        for name, value in headers.items():
            command += ["-H", f"{name}: {value}"]
        command += ["--data-binary", "@-"] if body is not None else []
        self._process = subprocess.Popen([*command, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._file = self._process.stdout
        with self._process.stdin as stdin:
            stdin.write(body or b"")

    def leave(self, how: str = "close") -> None:
        """Leave, as a tab that is closed."""
        assert how == "close"

        self.close()

    def close(self) -> None:
        """End curl, and with it its connection."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._file.close()

    def until_heartbeats(self, count: int) -> Self:
        """Read until so many heartbeats in a row are here."""
        while not self._rest.endswith(b":\n" * count):
            if not self._write():
                raise AssertionError(f"the stream ended before, with {self._rest!r}.")
        return self

    def _write(self) -> bool:
        if self.is_ended or not self.status:
            return False
        data = self._file.read1(65_536)
        self.is_ended = not data
        if data:
            self.writes.append(data)
        self._rest += data
        return bool(data)


class ProxiedBrowser(Browser):
    """A signed-in user's browser that talks to nginx: TLS, an origin, and gzip if it is offered."""

    def __init__(self, nginx: Nginx, option: str = HTTP2, user: Any = None) -> None:
        super().__init__(nginx.port, user)
        self.nginx = nginx
        self.option = option
        self.origin = f"https://localhost:{nginx.port}"

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> CurlExchange:
        """Ask for a path of the app."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        sent = {
            "Cookie": f"{settings.SESSION_COOKIE_NAME}={self.session}; {settings.CSRF_COOKIE_NAME}={_CSRF}",
            "X-CSRFToken": _CSRF,
            "Origin": self.origin,
            "Referer": f"{self.origin}/chat/",
            "Accept-Encoding": "gzip, deflate, br, zstd",
            **({"Content-Type": "application/json"} if body is not None else {}),
            **named,
        }
        options = [self.option, "--cacert", str(self.nginx.certificate)]
        exchange = CurlExchange(method, f"{self.origin}/chat/{path}", sent, data, *options)
        self.exchanges.append(exchange)
        return exchange


def _adapted(site: str, replacements: dict[str, str], without: tuple[str, ...]) -> str:
    for there, here in {**replacements, **dict.fromkeys(without, "")}.items():
        assert site.count(there) == 1, f"{there!r} was wanted once in the document."
        site = site.replace(there, here)
    return site


def make_certificate(folder: Path) -> None:
    """Make a certificate for localhost that is its own authority."""
    command = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-days", "2"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run([*command, *names, *files], check=True, capture_output=True)


def _free_ports(count: int) -> list[int]:
    found: list[int] = []
    for port in random.sample(_PORTS, k=100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError(f"fewer than {count} free ports among 100 of {_PORTS}.")
