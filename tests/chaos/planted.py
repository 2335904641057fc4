"""Bugs to plant in a worker, to see that the checker finds them. Only the checker's own workers come by here.

python -m tests.chaos --plant fence --expect-failure
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from streaming_chat.engine import batch, reader, saver, tool_rows
from streaming_chat.engine.run import Run
from streaming_chat.engine.tool_loop import ToolLoop
from streaming_chat.models import LiveReply, Message, ToolCall
from streaming_chat.views.api import lookups


def lose_fence() -> None:
    """Let a worker that lost its lease go on: it saves, and ends what another process has ended."""
    hold, save_endings = batch.Batch._hold_leases, batch.save_endings

    def hold_all(self: Any, going: Any) -> dict[Any, Any]:
        held = hold(self, going)
        lost = [part.run.message_id for part in going if part.run.message_id not in held]
        return {**held, **{pk: batch.HeldLease(None, None, is_followed=False, is_blocked=False) for pk in lost}}

    def end_again(completions: Any, using: str) -> Any:
        for each in completions:
            Message.objects.using(using).filter(pk=each.message_id).update(status="streaming")
            LiveReply.objects.using(using).bulk_create([_lease(each)], ignore_conflicts=True)
            LiveReply.objects.using(using).filter(pk=each.message_id).update(worker=each.worker)
        return save_endings(completions, using)

    batch.Batch._hold_leases = hold_all
    batch.save_endings = end_again


def _lease(completion: Any) -> LiveReply:
    """Return a lease of a reply, with a slot that no other reply of the owner has."""
    return LiveReply(
        message_id=completion.message_id,
        conversation_id=completion.conversation_id,
        owner_key=str(completion.message_id),
        slot=0,
        worker=completion.worker,
        expires_at=LiveReply.lease(),
    )


def skip_one() -> None:
    """Let a reader who resumes in mid-reply miss a code point."""
    begin = reader.Cursor.__init__

    def begin_late(self: Any, stream: Any, encoder: Any, position: int = 0) -> None:
        begin(self, stream, encoder, position + 1 if position > 1 else position)

    reader.Cursor.__init__ = begin_late


def forget_owner() -> None:
    """Let everybody find every message."""

    def find_any(owner: Any, message_id: Any) -> Message:
        return Message.objects.select_related("conversation").get(pk=message_id)

    lookups.find_message = find_any


def call_twice() -> None:
    """Ask the provider twice for each reply."""
    receive = Run._receive

    async def receive_twice(self: Any) -> Any:
        async with self._order.provider.stream(self._order.prompt) as upstream:
            await upstream.read()
        return await receive(self)

    Run._receive = receive_twice


def tell_before_commit() -> None:
    """Tell the readers of an ending that is not saved, and may never be."""
    save = saver.Saver.save

    def tell_and_save(self: Any, runs: Any, **options: Any) -> Any:
        payload = {"status": "completed", "end_reason": "stop", "length": 0, "sha256": "", "usage": None}
        for progress in runs:
            if progress.run.outcome is not None:
                progress.run.mark_saved(payload, 10**6)
        return save(self, runs, **options)

    saver.Saver.save = tell_and_save


def run_again() -> None:
    """Take every call that ran when its worker died for one that may run again."""

    def may_run(row: ToolCall) -> bool:
        return row.status in (ToolCall.State.RUNNING, ToolCall.State.APPROVED)

    tool_rows._may_run = may_run


def leave_orphans() -> None:
    """End replies without results for the calls that have none."""

    def close(self: Any, ending: Any) -> None:
        return None

    def closing(*_arguments: Any, **_named: Any) -> list[Any]:
        return []

    ToolLoop.close = close
    tool_rows.closing = closing


PLANTS: dict[str, Callable[[], None]] = {
    "fence": lose_fence,
    "gap": skip_one,
    "owner": forget_owner,
    "twice": call_twice,
    "early": tell_before_commit,
    "rerun": run_again,
    "orphan": leave_orphans,
}


def plant(name: str) -> None:
    """Plant this bug; none for ""."""
    if name:
        PLANTS[name]()
