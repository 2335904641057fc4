"""Points in the life of a tool call at which a worker stops, until it is killed: for `python -m tests.chaos.kills`.

A call says by its name where it stops: `<anything>/<point>`. CHAOS_HOLDS names a folder, in which a file appears for each
call that has reached its point. Without it, nothing stops.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

FOLDER = os.environ.get("CHAOS_HOLDS", "")


def hold(point: str, call: str) -> None:
    """Stop this thread here, if the call is to stop at this point."""
    if _is_held(point, call):
        _tell(call)
        threading.Event().wait()


async def hold_task(point: str, call: str) -> None:
    """Stop this task here, if the call is to stop at this point. The loop goes on."""
    if _is_held(point, call):
        _tell(call)
        await asyncio.Event().wait()


def file_of(call: str) -> str:
    """Return the name of the file that says that a call has reached its point."""
    return call.replace("/", "_").replace(" ", "_")


def hold_the_engine() -> None:
    """Stop at the points that are in the app's own code, too. In a worker: the checker itself has no Django."""
    from streaming_chat.engine import tool_rows
    from streaming_chat.engine.tool_runs import PendingCall

    save_starts, save_results, run = tool_rows.save_starts, tool_rows._save_results, PendingCall.run

    def save_starts_later(message_id: uuid.UUID, starts: Iterable[Any], worker: str, using: str) -> None:
        starts = list(starts)
        for call in _names(message_id, [start.call_id for start in starts], using):
            hold("before running is saved", call)
        save_starts(message_id, starts, worker, using)

    def save_results_later(message_id: uuid.UUID, results: Any, using: str) -> None:
        for call in _names(message_id, [result["id"] for result in results], using):
            hold("before the result is saved", call)
        save_results(message_id, results, using)

    async def run_later(self: PendingCall) -> None:
        call = _name(self.arguments)
        await hold_task("running is saved", call)
        await run(self)
        await hold_task("returned", call)

    tool_rows.save_starts = save_starts_later
    tool_rows._save_results = save_results_later
    PendingCall.run = run_later  # type: ignore[method-assign]


def _names(message_id: uuid.UUID, call_ids: list[str], using: str) -> list[str]:
    from streaming_chat.models import ToolCall

    rows = ToolCall.objects.using(using).filter(message_id=message_id, call_id__in=call_ids)
    return [_name(arguments) for arguments in rows.values_list("arguments", flat=True)]


def _name(arguments: str) -> str:
    return json.loads(arguments)["call"]


def _is_held(point: str, call: str) -> bool:
    return bool(FOLDER) and call.endswith(f"/{point}")


def _tell(call: str) -> None:
    Path(FOLDER, file_of(call)).touch()
