"""What was done and seen, in order: one JSON object a line, each with its kind and `at`, seconds of the wall's clock.

kind       one for each
run        run: seed and options; canaries (user -> canary), lease in seconds
send       try to send: key, ends_with_reader, user, worker, repeat (it may have been accepted
           before), status (0: no answer), reply
read       connection that a view of a reply read: view, user, reply, worker, after (position asked for, None: no header),
           frames ([position, event, text], …), ending (its data), left (how it ended), since
stop       try to stop: reply, user, position
delete     try to delete: conversation, user
message    ended reply that a look at it or a stop showed: reply, worker, user, status, end_reason, text
answer     request that was answered: method, path, worker, status, code, expected (whether the client can explain it)
leak       canary of another: user who saw it, where, canary
fault      fault: name, target, seconds
quiet      end of all faults and operations
call       provider call: key, step (1, and one more after each round of tools), canaries (in its prompt), deltas (those
           sent), whole, refused (why the provider did not take it, "" where it did)
row        reply in the database: look (1 or 2, some time apart), reply, key, owner, conversation, deleted, its columns,
           received (the text of all its parts), shape (kind and length of each part), called and resulted (ids of the
           calls of tools, and of their results)
tool       call of a tool in the database: reply, call_id, call (the name that the ledger has), status, runs
execution  line of the tools' ledger: what (begun or done), call, worker
continued  message after everything was quiet in a conversation with calls of tools: conversation, ending ("" for none)
approval   try to answer a call that waits for a person: reply, user, call_id, approved
left       what was live in the end: table, count, some
process    measurement of a worker: worker, pid, when (before or after), descriptors, threads, tasks, connections
memory     look at a worker that nothing is done to: worker, megabytes
log        line of a worker's log that tells of an exception nobody caught: worker, line
view       view as its client left it: view, user, reply, state (ended, gone, open)
"""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any, Self

Record = dict[str, Any]


class History:
    """Records, in memory and in a file."""

    def __init__(self, path: Path | None = None) -> None:
        self.records: list[Record] = []
        self._file = path.open("w") if path else None

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return the history that a run kept."""
        history = cls()
        with path.open() as lines:
            history.records = [json.loads(line) for line in lines]
        return history

    def write(self, kind: str, **fields: Any) -> Record:
        """Add one."""
        record = {"kind": kind, "at": round(time.time(), 4), **fields}
        self.records.append(record)
        if self._file:
            self._file.write(json.dumps(record) + "\n")
        return record

    def close(self) -> None:
        """Let the file be read."""
        if self._file:
            self._file.close()

    def of(self, kind: str, **fields: Any) -> list[Record]:
        """Return the records of a kind, with these fields."""
        return [
            record
            for record in self.records
            if record["kind"] == kind and all(record.get(name) == value for name, value in fields.items())
        ]

    def counts(self, kind: str, field: str) -> str:
        """Return how many of a kind there are for each value of a field, the most frequent first."""
        counter = Counter(str(record[field]) for record in self.of(kind) if record[field] != "")
        return ", ".join(f"{value} {count}" for value, count in counter.most_common()) or "none"
