"""What must hold of the calls of tools, as in invariants.py: by the tools' own ledger, the rows, and the provider's word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from .history import History
from .ledger import BEGUN, DONE

_OPEN = ("requested", "waiting", "approved", "running")


def tools_run_at_most_once(history: History) -> Iterator[str]:
    """By the ledger, no call has begun twice, or before its row said so; and a call with a result is done."""
    begun, done = (Counter(line["call"] for line in history.of("execution", what=what)) for what in (BEGUN, DONE))
    rows = {row["call"]: row for row in history.of("tool") if row["call"]}
    for call, times in begun.items():
        row = rows.get(call)
        if times > 1:
            yield f"the call {call} has begun {times} times."
        if row is None:
            yield f"the call {call} has begun, but is not in the database."
        elif not row["runs"] or row["status"] == "denied":
            yield f"the call {call} of reply {row['reply']} has begun, but is {row['status']} after {row['runs']} runs."
    for call, row in rows.items():
        if row["status"] == "ok" and not done[call]:
            yield f"the call {call} of reply {row['reply']} has a result, but the tool has not returned one."


def denied_calls_do_not_run(history: History) -> Iterator[str]:
    """A call that waits for a person begins only after a person has allowed it."""
    begun = {line["call"] for line in history.of("execution", what=BEGUN)}
    allowed = {(tried["reply"], tried["call_id"]) for tried in history.of("approval", approved=True)}
    for row in history.of("tool"):
        needs_answer = row["call"].endswith("/answer")
        if needs_answer and row["call"] in begun and (row["reply"], row["call_id"]) not in allowed:
            yield f"the call {row['call']} of reply {row['reply']} has begun, and nobody has allowed it."


def calls_have_results(history: History) -> Iterator[str]:
    """In the end, every call has one result, in the reply and in its row; the provider has refused no prompt."""
    for row in history.of("row", look=1):
        called, resulted = sorted(row.get("called", ())), sorted(row.get("resulted", ()))
        if called != resulted:
            yield f"reply {row['reply']} ({row['key']}, {row['status']}) has the calls {called}, the results {resulted}."
    for row in history.of("tool"):
        if row["status"] in _OPEN:
            yield f"the call {row['call']} of reply {row['reply']} is {row['status']} in the end."
    for call in history.of("call"):
        if call.get("refused"):
            yield f"{call['key']} was refused by the provider: {call['refused']}."


def conversations_with_tools_go_on(history: History) -> Iterator[str]:
    """Once everything is quiet, each conversation with calls of tools takes one more message, and gets the whole reply."""
    for continued in history.of("continued"):
        if continued["ending"] != "done":
            yield f"conversation {continued['conversation']} got {continued['ending'] or 'no ending'}."
