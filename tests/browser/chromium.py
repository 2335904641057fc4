"""Chromium for the browser tests and the pictures: where it is, and what it is started with."""

import shutil

# Root needs --no-sandbox; the others keep Chromium from talking to anybody but us.
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium_path() -> str | None:
    """Return Debian's Chromium, or what stands in for it; None where there is none on PATH."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
