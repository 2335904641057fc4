"""What must hold of a history, each as a function of its own that yields what violates it.

A function's name is the invariant's, its docstring what it promises. Nothing here asks a server or a clock: a history
that was kept can be judged again.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

from .history import History, Record
from .provider import CANARY, NEEDS_ANSWER
from .tool_invariants import (
    calls_have_results,
    conversations_with_tools_go_on,
    denied_calls_do_not_run,
    tools_run_at_most_once,
)

Invariant = Callable[[History], Iterator[str]]

# Faults after which a worker may be taken for dead: its lease was not renewed in time.
_SILENCES = (
    "kill",
    "pause",
    "terminate",
    "terminate, then kill",
    "would not end",
    "fast restart",
    "immediate restart",
    "terminate backends",
    "freeze",
)
_TERMINATIONS = ("terminate", "terminate, then kill")
# Endings that nothing here causes but the faults and the clients: status, end_reason.
_ENDINGS = {
    ("completed", "stop"),
    ("stopped", "user"),
    ("stopped", "disconnect"),
    ("stopped", "approval_expired"),
    ("interrupted", "shutdown"),
    ("interrupted", "lease_expired"),
}
_FAILURES = ("shutdown", "lease_expired")
# An ending is tried to be saved for 30 s, with the pauses between tries and the ends of connections.
_SAVED_WITHIN_SECONDS = 25
# What a process may have more than at its beginning: threads of pools that were not needed yet (the tools' pool has eight),
# and connections that the last clients are just closing.
_ROOM = {"descriptors": 12, "threads": 16, "tasks": 3, "connections": 1}
# By how much a worker's memory may grow in the second half of a calm run, in which nothing new is made: a share of it.
_GROWTH = 0.05
# Caches and the allocator's arenas fill up in the first minutes.
_SETTLED_SECONDS = 240


def stored_text_is_what_the_provider_sent(history: History) -> Iterator[str]:
    """The stored parts of a reply are a prefix of what the provider sent for it, and all of it if it is completed."""
    calls = _calls(history)
    for row in history.of("row", look=1):
        text, is_whole = max(_sent_replies(calls[row["key"]]), key=lambda one: one[0].startswith(row["received"]))
        if not text.startswith(row["received"]):
            yield f"{_name(row)}: {_difference(row['received'], text)}"
        if row["status"] == "completed" and not (is_whole and text == row["received"]):
            yield f"{_name(row)} is completed with {len(row['received'])} of {len(text)} code points sent."
        cut = row["cut_position"]
        if row["text"] != (row["received"] if cut is None else row["received"][: _text_before(row, cut)]):
            yield f"{_name(row)}: its text is not its parts' up to its cut at {cut}."


def views_see_what_the_provider_sent(history: History) -> Iterator[str]:
    """What a view showed is, at every position, what was sent: no gap, no repetition; and at the ending what is stored."""
    calls = _calls(history)
    rows = {row["reply"]: row for row in history.of("row", look=1)}
    reads: dict[int, list[Record]] = defaultdict(list)
    for read in history.of("read"):
        reads[read["view"]].append(read)
    for view, connections in reads.items():
        row = rows.get(connections[-1]["reply"])
        if row is None:
            if connections[-1]["reply"]:
                yield f"view {view} of {connections[-1]['reply']}: there is no such reply in the database."
            continue
        failures = [list(_violations(connections, text, row)) for text, _ in _sent_replies(calls[row["key"]])]
        for failure in min(failures, key=len):
            yield f"view {view} of {_name(row)}: {failure}"


def _violations(reads: list[Record], sent: str, row: Record) -> Iterator[str]:
    """Yield where one view's frames are not `sent`; position 1 is where the reply begins."""
    position = reads[0]["after"] or 0
    # Code points of the text that came before what the view shows.
    skipped = _text_before(row, position)
    shown = ""
    for read in reads:
        if (read["after"] or 0) != position:
            yield f"it asked for {read['after']} at {position}."
        for number, event, text in read["frames"]:
            if event == "reset":
                position = skipped = 0
                shown = ""
            elif number is not None:
                if wrong := _wrong_frame(position, number, event, text, sent[skipped + len(shown) :]):
                    yield f"on {read['worker']}, {wrong}"
                shown += text
                position = number
        if read["ending"] and not _is_forbidden(read["ending"]):
            yield from _wrong_ending(read, row, shown, skipped)


def _wrong_frame(position: int, number: int, event: str, text: str, rest: str) -> str:
    """Return what is wrong with a frame that came at `position` and says that it goes up to `number`; "" for nothing.

    rest: of what was sent, from there on.
    """
    size = len(text) if event == "message" else 1
    if number != position + size or (event == "start" and position):
        return f"{event} of {size} units up to {number} came at {position}."
    wanted = rest[: len(text)]
    return "" if text == wanted else f"at {position}: {_difference(text, wanted)}"


def _wrong_ending(read: Record, row: Record, shown: str, skipped: int) -> Iterator[str]:
    ending, text = read["ending"], row["text"]
    if shown != text[skipped:]:
        yield f"it ended on {read['worker']} with other text than is stored: {_difference(shown, text[skipped:])}"
    if (ending["length"], ending["sha256"]) != (len(text), _sha256(text)):
        yield f"its ending on {read['worker']} says {ending['length']} code points, stored are {len(text)}, or the sum."


def a_reply_ends_once(history: History) -> Iterator[str]:
    """Everybody who saw a reply's ending saw the same one, and the database keeps it as it was."""
    seen: dict[str, dict[tuple[Any, ...], str]] = defaultdict(dict)
    for read in history.of("read"):
        if (ending := read["ending"]) and not _is_forbidden(ending):
            facts = (ending["status"], ending["end_reason"], ending["length"], ending["sha256"])
            seen[read["reply"]][facts] = f"a reader on {read['worker']} at {read['at']}"
    for message in history.of("message"):
        facts = (message["status"], message["end_reason"], len(message["text"]), _sha256(message["text"]))
        seen[message["reply"]][facts] = f"a look on {message['worker']} at {message['at']}"
    again = {row["reply"]: row for row in history.of("row", look=2)}
    for row in history.of("row", look=1):
        facts = (row["status"], row["end_reason"], len(row["text"]), _sha256(row["text"]))
        seen[row["reply"]][facts] = "the database"
        if (later := again.get(row["reply"])) is None:
            yield f"{_name(row)} is gone."
        elif changed := [name for name in row if name not in ("at", "look") and row[name] != later[name]]:
            yield f"{_name(row)} changed after its ending: {', '.join(changed)}."
    for reply, endings in seen.items():
        if len(endings) > 1:
            told = "; ".join(f"{facts[:3]} told {who}" for facts, who in endings.items())
            yield f"reply {reply} has {len(endings)} endings: {told}."


def endings_have_a_cause(history: History) -> Iterator[str]:
    """A reply is stopped where somebody stopped it, and broken where something was broken."""
    stopped = {stop["reply"] for stop in history.of("stop")}
    deleted = {delete["conversation"] for delete in history.of("delete")}
    leavers = {send["key"] for send in history.of("send", ends_with_reader=True)}
    asked = {row["reply"] for row in history.of("tool") if row["call"].endswith(NEEDS_ANSWER)}
    faults = {fault["name"] for fault in history.of("fault")}
    longest = max((fault["seconds"] for fault in history.of("fault", target="database")), default=0)
    for row in history.of("row", look=1):
        ending = row["status"], row["end_reason"]
        if row["status"] == "failed":
            is_known = row["error_code"] in _FAILURES and row["received"] == ""
        else:
            is_known = ending in _ENDINGS
        if "not_saved" in (row["end_reason"], row["error_code"]):
            is_known = longest > _SAVED_WITHIN_SECONDS
        code = row["error_code"]
        causes = {
            ("stopped", "user"): row["reply"] in stopped or row["conversation"] in deleted,
            ("stopped", "disconnect"): row["key"] in leavers,
            ("stopped", "approval_expired"): row["reply"] in asked,
        }
        if "shutdown" in (row["end_reason"], code):
            is_known = is_known and not faults.isdisjoint(_TERMINATIONS)
        if "lease_expired" in (row["end_reason"], code):
            is_known = is_known and not faults.isdisjoint(_SILENCES)
        if not is_known or not causes.get(ending, True):
            yield f"{_name(row)} ended without a cause."


def calls_are_accepted_sends(history: History) -> Iterator[str]:
    """The provider was called once for each step of each send that was accepted, and for nothing else.

    A worker that died, was paused beyond its lease or was ended between its commit and its call has not called; nor has
    one whose reply was stopped at once. Such a reply has no text, and is counted by `sends_without_a_call`.
    """
    calls, rows = _calls(history), defaultdict(list)
    for row in history.of("row", look=1):
        rows[row["key"]].append(row)
    for key, found in calls.items():
        if key not in rows:
            yield f"{key} was asked of the provider {len(found)} times, but is not in the database."
        steps = [call.get("step", 1) for call in found]
        for step in sorted({step for step in steps if steps.count(step) > 1}):
            yield f"{key} was asked of the provider {steps.count(step)} times, in step {step}."
    for key, found in rows.items():
        if len(found) > 1:
            yield f"{key} has {len(found)} replies: {', '.join(_name(row) for row in found)}."
        if key not in calls and (found[0]["status"] == "completed" or found[0]["received"]):
            yield f"{_name(found[0])} was not asked of the provider."
    for send in history.of("send"):
        if send["reply"] and all(row["reply"] != send["reply"] for row in rows.get(send["key"], ())):
            yield f"{send['key']} was answered on {send['worker']} with reply {send['reply']}, which is not in the database."


def sends_without_a_call(history: History) -> int:
    """Return how many accepted sends never reached the provider."""
    calls = _calls(history)
    return sum(row["key"] not in calls for row in history.of("row", look=1))


def nothing_is_left(history: History) -> Iterator[str]:
    """20 s after the last operation (a lease and 5 s) nothing is live, and whoever followed a reply knows its ending."""
    for left in history.of("left"):
        if left["count"]:
            yield f"{left['count']} in {left['table']}: {left['some']}."
    for view in history.of("view", state="open"):
        if view["reply"]:
            yield f"view {view['view']} of reply {view['reply']} never saw its ending."


def canaries_stay_with_their_owners(history: History) -> Iterator[str]:
    """Nobody sees another's text: in no stream, message, prompt or row."""
    for leak in history.of("leak"):
        yield f"{leak['user']} saw {leak['canary']} in {leak['where']}."
    canaries = history.of("run")[0]["canaries"]
    owners = {row["key"]: row["owner"] for row in history.of("row", look=1)}
    for call in history.of("call"):
        owner = owners.get(call["key"])
        if len(call["canaries"]) != 1 or (owner and call["canaries"] != [canaries[owner]]):
            yield f"the prompt of {call['key']} of {owner} holds {call['canaries']}."
    for row in history.of("row", look=1):
        if others := set(CANARY.findall(row["received"])) - {canaries[row["owner"]]}:
            yield f"{_name(row)} of {row['owner']} holds {others}."


def processes_come_to_rest(history: History) -> Iterator[str]:
    """A worker has about as many descriptors, threads, tasks and connections in the end as a fresh one has."""
    for fault in history.of("fault", name="would not end"):
        yield f"{fault['target']} did not end after SIGTERM, at {fault['at']}."
    before = history.of("process", when="before")
    for after in history.of("process", when="after"):
        for name, room in _ROOM.items():
            began = max(fresh[name] for fresh in before)
            if after[name] > began + room:
                yield f"{after['worker']} has {after[name]} {name}, {began} at its beginning."


def memory_is_flat(history: History) -> Iterator[str]:
    """In a calm run of eight minutes or more, a worker's memory does not grow in the second half."""
    workers = defaultdict(list)
    for record in history.of("memory"):
        workers[record["worker"]].append(record)
    for worker, records in workers.items():
        middle = records[len(records) // 2 :]
        if middle[0]["at"] - records[0]["at"] < _SETTLED_SECONDS:
            continue
        # Means of a quarter each: single figures go up and down with the replies that are open.
        third, fourth = (_mean(quarter) for quarter in (middle[: len(middle) // 2], middle[len(middle) // 2 :]))
        if fourth > third * (1 + _GROWTH):
            yield f"{worker} grew from {third:.0f} MB to {fourth:.0f} MB."


def _mean(records: list[Record]) -> float:
    return sum(record["megabytes"] for record in records) / len(records)


def answers_are_expected(history: History) -> Iterator[str]:
    """Every refusal is one that its client can explain; nobody is ever answered 500."""
    for answer in history.of("answer", expected=False):
        asked = f"{answer['method']} {answer['path']} on {answer['worker']} at {answer['at']}"
        yield f"{asked}: {answer['status']} {answer['code']}"


def workers_log_no_surprise(history: History) -> Iterator[str]:
    """No exception reaches a server's, an event loop's or a thread's last handler."""
    for log in history.of("log"):
        yield f"{log['worker']}: {log['line']}"


INVARIANTS: tuple[Invariant, ...] = (
    stored_text_is_what_the_provider_sent,
    views_see_what_the_provider_sent,
    a_reply_ends_once,
    endings_have_a_cause,
    calls_are_accepted_sends,
    nothing_is_left,
    canaries_stay_with_their_owners,
    processes_come_to_rest,
    memory_is_flat,
    answers_are_expected,
    workers_log_no_surprise,
    tools_run_at_most_once,
    denied_calls_do_not_run,
    calls_have_results,
    conversations_with_tools_go_on,
)

# A bug that can be planted (planted.py) -> the invariant that must find it.
FINDERS = {
    "fence": a_reply_ends_once.__name__,
    "gap": views_see_what_the_provider_sent.__name__,
    "owner": canaries_stay_with_their_owners.__name__,
    "twice": calls_are_accepted_sends.__name__,
    "early": a_reply_ends_once.__name__,
    "rerun": tools_run_at_most_once.__name__,
    "orphan": calls_have_results.__name__,
}


def judge(history: History) -> dict[str, list[str]]:
    """Return what violates each invariant, by its name."""
    return {invariant.__name__: list(invariant(history)) for invariant in INVARIANTS}


def _calls(history: History) -> dict[str, list[Record]]:
    calls: dict[str, list[Record]] = defaultdict(list)
    for call in history.of("call"):
        calls[call["key"]].append(call)
    return calls


def _sent_replies(calls: list[Record]) -> list[tuple[str, bool]]:
    """Return what the provider may have sent for a reply: a text, and whether it is whole. Several if it was asked twice."""
    steps: dict[int, list[Record]] = defaultdict(list)
    for call in calls:
        if not call.get("refused"):
            steps[call.get("step", 1)].append(call)
    return [_joined(one) for one in product(*(steps[step] for step in sorted(steps)))]


def _joined(steps: tuple[Record, ...]) -> tuple[str, bool]:
    """Return the text of a reply, in which each step begins a paragraph."""
    texts = ["".join(call["deltas"]) for call in steps]
    return "\n\n".join(text for text in texts if text), bool(steps) and steps[-1]["whole"]


def _text_before(row: Record, position: int) -> int:
    """Return how many code points of text a reply has before a position: the start and each call are one unit, too."""
    units, text = 1, 0
    for kind, size in row.get("shape") or [["text", len(row["received"])]]:
        taken = min(size, max(position - units, 0))
        text += taken if kind == "text" else 0
        units += size
    return text


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _is_forbidden(ending: Record) -> bool:
    """Whether a reader was shown out: the reply itself has another ending."""
    return (ending.get("error") or {}).get("code") == "forbidden"


def _name(row: Record) -> str:
    return f"reply {row['reply']} ({row['key']}, {row['status']} {row['end_reason'] or row['error_code']})"


def _difference(got: str, wanted: str) -> str:
    """Return where two texts part."""
    place = next((place for place, pair in enumerate(zip(got, wanted, strict=False)) if len(set(pair)) > 1), None)
    place = min(len(got), len(wanted)) if place is None else place
    return (
        f"{len(got)} code points where {len(wanted)} were wanted; at {place} "
        f"{got[place : place + 40]!r} in place of {wanted[place : place + 40]!r}."
    )
