"""Measure the CPU that a token takes in each format, beside the simple one: `python -m benchmarks.formats [--runs 7]`.

Each token is one event of a live reply, taken from the stream and encoded by itself, as for a reader that keeps up. The runs
take the formats in turn, so that a slow moment of the machine falls on all of them; the table has medians. The server's own
work for a write is the same for each format, and is left out.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import uuid

import django

from .measures import machine, table

TOKENS = 20_000


def seconds_of(name: str) -> float:
    """Return the CPU time of one reply."""
    from streaming_chat.encoders import encoder_named
    from streaming_chat.engine.cursor import Cursor
    from streaming_chat.engine.stream import ReplyStream
    from streaming_chat.protocol.events import START, TEXT, Event

    reply = uuid.UUID(int=7)
    stream = ReplyStream(reply, None)
    stream.append(
        [Event(START, {"message": str(reply), "user_message": "", "conversation": "c", "model": "demo:demo"})]
    )
    cursor = Cursor(stream, encoder_named(name)(str(reply)))
    tokens = [Event(TEXT, " tokens" if number % 9 else ",\n“<b>”") for number in range(TOKENS)]
    cursor.next()
    begun = time.process_time()
    for token in tokens:
        stream.append([token])
        cursor.next()
    return time.process_time() - begun


def main() -> None:
    """Print the table."""
    from streaming_chat.encoders import formats

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    # The json format has no text.
    names = [name for name in formats() if name != "json"]
    taken = {name: [] for name in names}
    for _run in range(runs):
        for name in names:
            taken[name].append(seconds_of(name) / TOKENS * 1e6)
    medians = {name: statistics.median(times) for name, times in taken.items()}
    print(machine())
    rows = [[name, f"{us:.2f}", f"{us / medians['simple']:.2f}"] for name, us in medians.items()]
    print(table(["format", "µs a token", "× simple"], rows))


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    main()
