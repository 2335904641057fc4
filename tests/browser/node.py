"""Clients that others have written, run by Node.js: tests/clients/ has one script for each."""

import json
import shutil
import subprocess
from typing import Any

from django.conf import settings
from django.test import Client

from .bundles import ROOT

CLIENTS = ROOT / "tests" / "clients"
_SECONDS = 60
# What each script runs.
_PACKAGES = {
    "ag_ui": "@ag-ui/client",
    "event_source": "eventsource",
    "fetch_event_source": "@microsoft/fetch-event-source",
    "parser": "eventsource-parser",
}


def print_versions(*packages: str) -> None:
    """Print which versions are tested, for `pytest -s`. packages: as tests/clients/package.json names them."""
    for package in packages:
        described = json.loads((CLIENTS / "node_modules" / package / "package.json").read_text())
        print(described["name"], described["version"])  # noqa: T201


def run_client(name: str, config: dict[str, Any] | None = None, *, stdin: bytes = b"") -> Any:
    """Return the JSON that a script of tests/clients prints."""
    node = shutil.which("node")
    assert node, "these tests need Node.js 20 on PATH."
    assert (CLIENTS / "node_modules").exists(), "run `npm --prefix tests/clients ci` first."

    print_versions(_PACKAGES[name])
    command = [node, f"{name}.mjs", json.dumps(config or {})]
    done = subprocess.run(command, cwd=CLIENTS, input=stdin, capture_output=True, timeout=_SECONDS, check=False)

    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def headers_of(user: Any) -> dict[str, str]:
    """Return the headers of a user who has signed in, with their CSRF token."""
    client = Client()
    client.force_login(user)
    token = client.get("/chat/api/token").json()["csrf_token"]
    names = (settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME)
    cookies = "; ".join(f"{name}={client.cookies[name].value}" for name in names)
    return {"Cookie": cookies, "X-CSRFToken": token}
