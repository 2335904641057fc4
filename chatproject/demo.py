"""Serve the example site on this machine, with users and transcripts to look at: `python -m chatproject.demo`.

PORT (default 8000) says where. Data and secret are in demo.sqlite3 and demo.secret, beside manage.py: a restart keeps
both, so that everybody stays signed in. `--conversations N` adds so many generated conversations and serves nothing.
"""

import argparse
import contextlib
import os
import secrets
import socket
import sys
from pathlib import Path

import django
import uvicorn
from django.core.management import CommandError, call_command

from streaming_chat.conf import conf

BASE_DIR = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"


def main() -> None:
    """Serve the site, or add conversations to it."""
    parser = argparse.ArgumentParser(prog="python -m chatproject.demo", description=__doc__)
    parser.add_argument("--conversations", metavar="N", help="Add so many generated conversations, and serve nothing.")
    conversations = parser.parse_args().conversations
    if conversations is None:
        _serve()
    else:
        _prepare()
        _add(conversations)


def _add(conversations: str) -> None:
    try:
        call_command("seedtranscripts", "--conversations", conversations)
    except CommandError as error:
        sys.exit(str(error))
    # Written past the app, as by an import: what the app keeps up by itself is made up for.
    call_command("rebuildsearch")
    call_command("rollup")


def _prepare() -> None:
    _configure()
    django.setup()
    call_command("migrate", verbosity=0)
    call_command("seeddemo")


def _serve() -> None:
    """Prepare the database, say where the site is, and serve it until SIGINT or SIGTERM."""
    listener = _listen(os.environ.get("PORT", "8000"))
    _prepare()
    if conf.STREAMING_CHAT_ALLOW_ANONYMOUS:
        _say("Visitors chat without an account (STREAMING_CHAT_ALLOW_ANONYMOUS=0 ends that).")
    _say(f"\nThe example site is at http://{HOST}:{listener.getsockname()[1]}/ (Ctrl+C ends it)\n")
    config = uvicorn.Config("chatproject.asgi:application", log_config=None, access_log=False)
    # uvicorn raises the signal again when it has shut down.
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])


def _listen(port: str) -> socket.socket:
    """Take the port before anything else is done; end the process with a sentence where that fails."""
    if not port.isdecimal() or int(port) > 65_535:
        sys.exit(f"PORT must be a number from 0 to 65535, got {port!r}.")
    try:
        return socket.create_server((HOST, int(port)), backlog=2048)
    except OSError as error:
        sys.exit(f"Port {port} cannot be used: {os.strerror(error.errno)}. Choose another: make demo PORT=8001")


def _configure() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatproject.settings")
    os.environ.setdefault("INSECURE_HTTP", "1")
    os.environ.setdefault("LOG_LEVEL", "WARNING")
    # With the limits of a day that the settings have for them.
    os.environ.setdefault("STREAMING_CHAT_ALLOW_ANONYMOUS", "1")
    os.environ.setdefault("DATABASE_URL", f"sqlite:///{BASE_DIR / 'demo.sqlite3'}")
    os.environ.setdefault("SECRET_KEY", _secret(BASE_DIR / "demo.secret"))


def _secret(path: Path) -> str:
    """Return the secret in the file, made at the first start and readable by its owner only."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(50))
    return path.read_text()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
