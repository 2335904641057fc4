"""What is said to Redis: the names of keys and channels, and round trips."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

Command = tuple[Any, ...]
# Of one round trip: replies, and bytes when writing.
REPLIES = 200
BYTES = 1_000_000

# What is said on a reply's channel: look at the database; its stream has more; its stream was made anew.
LOOK, MORE, ANEW = b"look", b"more", b"anew"


class Names:
    """Key and channels of each reply, in one hash tag, and the channel of each worker."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def stream(self, message_id: uuid.UUID) -> str:
        """Return the key of a reply's events."""
        return f"{self.prefix}:{{{message_id.hex}}}"

    def signal(self, message_id: uuid.UUID) -> bytes:
        """Return the channel that says when there is more of a reply."""
        return f"{self.prefix}:{{{message_id.hex}}}:signal".encode()

    def worker(self, worker: str) -> bytes:
        """Return the channel on which a worker is woken."""
        return f"{self.prefix}:worker:{worker}".encode()

    def probe(self) -> bytes:
        """Return a channel that nobody else knows."""
        return f"{self.prefix}:probe:{uuid.uuid4().hex}".encode()


async def run(client: Any, commands: Sequence[Command], *, transaction: bool = False) -> list[Any]:
    """Return the answers to these, errors among them, after one round trip. Raises what the connection does."""
    from redis.exceptions import ResponseError

    pipeline = client.pipeline(transaction=transaction)
    for command in commands:
        pipeline.execute_command(*command)
    try:
        return await pipeline.execute(raise_on_error=False)
    except ResponseError as error:
        # Of a transaction: nothing of it was done.
        return [error] * len(commands)
