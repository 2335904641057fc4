"""The benchmark's ASGI application, in which PATH sends into another of the prepared conversations each time.

The load client posts everything to one path, but a conversation takes one reply at a time. BENCH_POOL: a file with the ids
as a JSON list, each of which is used once, by one of the server's processes. run.py serves this file from a folder of its
own, so that `benchmarks` is the package of the checkout that is measured.
"""

import json
import os
from pathlib import Path
from typing import Any

from benchmarks.asgi import application as measured

PATH = "/pool"

_pool = Path(os.environ["BENCH_POOL"])
_ids = json.loads(_pool.read_text())
_taken = os.open(_pool.with_suffix(".taken"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Serve a request."""
    if scope["type"] == "http" and scope["path"] == PATH:
        path = f"/chat/api/conversations/{_ids[_take()]}/messages"
        scope = {**scope, "path": path, "raw_path": path.encode()}
    await measured(scope, receive, send)


def _take() -> int:
    """Return a number that no other request gets, in no other process either: how many were taken before."""
    os.write(_taken, b".")
    return os.lseek(_taken, 0, os.SEEK_CUR) - 1
