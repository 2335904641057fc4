"""What texts that are expensive to format cost the browser's main thread: opened when they are finished, and streamed.

`python -m benchmarks.degenerate_markdown [--names …] [--sizes …] [--static FOLDER] [--rows]` prints the ten worst of the 110
texts of tests/limits/degenerate_markdown.json, and a summary. The exit status is 1 if a task took longer than 200 ms. FOLDER
has the built files to measure, also those of an earlier commit; by default those of this one. It needs Chromium on PATH.

Milliseconds of CPU time of the main thread, by Chromium's trace, which includes style and layout, but not other processes on
the same core. Streamed: 100 deltas, one a frame.
"""

import argparse
import shutil
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, CDPSession, Error, Page, sync_playwright

from tests.browser.bundles import ROOT
from tests.browser.pages import serve_pages
from tests.limits.degenerate_markdown import NAMES, degenerate

from .long_replies import PAGE, STATIC

KILOBYTES = (8, 32, 128)
DELTAS = {"opened": 1, "streamed": 100}
LIMIT = 200
WORST = 10
SECONDS = 120
FILES = ("chat.css", "markdown.js", "highlighter.js", "typesetter.js")
CATEGORIES = "disabled-by-default-devtools.timeline,blink.user_timing"


@dataclass
class Cost:
    """What one text cost, in milliseconds of the main thread's CPU time."""

    name: str
    way: str
    kilobytes: int
    longest: float
    total: float


def _tasks(events: list[dict[str, Any]]) -> list[float]:
    """Return the CPU time of each task of the page's main thread, in milliseconds. Chromium has pages of its own besides."""
    thread = next((event["pid"], event["tid"]) for event in events if event["name"] == "show")
    runs = [event for event in events if event["name"] == "RunTask" and (event["pid"], event["tid"]) == thread]
    return [event.get("tdur", 0) / 1000 for event in runs]


def _trace(session: CDPSession, page: Page, call: str, argument: Any) -> list[float]:
    events: list[dict[str, Any]] = []
    ended = threading.Event()
    session.on("Tracing.dataCollected", lambda found: events.extend(found["value"]))
    session.on("Tracing.tracingComplete", lambda _found: ended.set())
    session.send("Tracing.start", {"categories": CATEGORIES, "transferMode": "ReportEvents"})
    page.evaluate(call, argument)
    session.send("Tracing.end")
    while not ended.is_set():
        page.wait_for_timeout(20)
    return _tasks(events)


def _measure(browser: Browser, root: str, name: str, way: str, kilobytes: int) -> Cost:
    page = browser.new_page(viewport={"width": 1100, "height": 760})
    try:
        page.goto(root)
        page.wait_for_selector("body[data-ready]")
        page.set_default_timeout(SECONDS * 1000)
        session = browser.new_browser_cdp_session()
        text = degenerate(name, kilobytes * 1024)
        call = "([text, deltas]) => window.show(text, deltas)"
        tasks = _trace(session, page, call, [text, DELTAS[way]])
        session.detach()
        return Cost(name, way, kilobytes, max(tasks), sum(tasks))
    finally:
        page.close()


def _measure_all(root: str, options: argparse.Namespace, chromium: str) -> Iterator[Cost]:
    with sync_playwright() as playwright:
        for kilobytes in options.sizes:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
            for name in options.names:
                for way in DELTAS:
                    try:
                        yield _measure(browser, root, name, way, kilobytes)
                    except Error as error:
                        print(f"{name}, {way}, {kilobytes} KB: {error}", file=sys.stderr)
                        yield Cost(name, way, kilobytes, float("inf"), float("inf"))
            browser.close()


def _row(cost: Cost) -> str:
    return f"| {cost.name} | {cost.way} | {cost.kilobytes} | {cost.longest:,.0f} | {cost.total:,.0f} |"


def _report(costs: list[Cost]) -> int:
    """Print the worst costs; return how many are over the limit."""
    print(f"\n{len(costs)} measurements; the worst {WORST} by their longest task, and by their total:\n")
    print("| text | way | KB | longest task, ms | all, ms |\n|---|---|---|---|---|")
    for key in (lambda cost: cost.longest, lambda cost: cost.total):
        for cost in sorted(costs, key=key, reverse=True)[:WORST]:
            print(_row(cost))
    long_tasks = sum(cost.longest > LIMIT for cost in costs)
    print(
        f"\nlongest task over {LIMIT} ms: {long_tasks}; all over {LIMIT} ms: {sum(cost.total > LIMIT for cost in costs)}"
    )
    return long_tasks


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", nargs="*", default=NAMES, choices=NAMES, metavar="NAME")
    parser.add_argument("--sizes", type=int, nargs="*", default=KILOBYTES, help="kilobytes")
    parser.add_argument("--static", type=Path, default=STATIC)
    parser.add_argument("--rows", action="store_true", help="print each measurement")
    options = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        parser.error("this needs Chromium on PATH.")

    pages = {
        "/": ("text/html", PAGE),
        "/page.js": ("text/javascript", (ROOT / "benchmarks" / "long_replies.js").read_bytes()),
    }
    for file in FILES:
        kind = "text/css" if file.endswith(".css") else "text/javascript"
        pages[f"/{file}"] = (kind, (options.static / file).read_bytes())
    costs = []
    with serve_pages(pages) as root:
        for cost in _measure_all(root, options, chromium):
            costs.append(cost)
            if options.rows:
                print(_row(cost), flush=True)
    return 1 if _report(costs) else 0


if __name__ == "__main__":
    sys.exit(main())
