"""What a search costs: common and rare words, phrases, beginnings and Chinese, in a database that `seedtranscripts` filled.

    DJANGO_SETTINGS_MODULE=… python -m benchmarks.search [--times 40]

For each: the first page of the last 90 days, of everything, and the conversations for the list; texts and owners are
loaded, passages made. The table is median and p95 in milliseconds, and how many hits the page has.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence

import django
from django.db import connection

from .measures import machine, percentile, table

# What the seeded texts have: the third column of the table says how many.
_SOUGHT = {
    "common word": "the",
    "common words": "order refund",
    "word of one text in 100": "please thank",
    "common phrase": '"the order"',
    "phrase of common words": '"search the order"',
    "beginning, 2 characters": "re*",
    "beginning, 3 characters": "ref*",
    "beginning, 5 characters": "refun*",
    "Chinese word": "取消",
    "Chinese character": "订",
    "Japanese": "図書館",
    "Thai": "จัดส่ง",
    "nowhere": "xyzzyx",
    "common and nowhere": "the xyzzyx",
}


def main(words: Sequence[str]) -> None:
    """Measure each, and print the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--times", type=int, default=40)
    options = arguments.parse_args(words)
    django.setup()
    # Only now: they have models.
    from streaming_chat.admin.snippets import marked_snippets
    from streaming_chat.models import Message, SearchEntry
    from streaming_chat.search import query

    def page(sought: str, *, everything: bool) -> int:
        found = query.search(sought, everything=everything)
        for hit in found.hits:
            marked_snippets(hit.text, found.terms)
        return len(found.hits)

    rare = _rare_words()
    rows = []
    for name, sought in {"rare word": rare[0], "two rare words": " ".join(rare[:2]), **_SOUGHT}.items():
        recent = _measure(lambda sought=sought: page(sought, everything=False), options.times)
        everything = _measure(lambda sought=sought: page(sought, everything=True), options.times)
        listed = _measure(lambda sought=sought: len(query.conversations(sought)[0]), options.times)
        rows.append([name, sought, *recent, *everything, *listed])
    print(machine())
    print(f"{connection.vendor}, {Message.objects.count()} messages, {SearchEntry.objects.count()} entries")
    heads = ["sought", "term"]
    for where in ("90 days", "all", "list"):
        heads += [f"{where}: found", "median, ms", "p95, ms"]
    print(table(heads, rows))


def _rare_words() -> list[str]:
    """Return the last words of the seeds' vocabulary: each is in about one text in 3,000."""
    from random import Random

    from chatproject.seeds import Writer

    return Writer(Random(1))._words[-2:]  # noqa: S311


def _measure(work: Callable[[], int], times: int) -> list[object]:
    found = work()
    took = []
    for _time in range(times):
        begun = time.perf_counter()
        work()
        took.append((time.perf_counter() - begun) * 1000)
    return [found, f"{percentile(took, 50):.1f}", f"{percentile(took, 95):.1f}"]


if __name__ == "__main__":
    main(sys.argv[1:])
