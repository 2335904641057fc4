"""What one long reply costs the browser's main thread: opened when it is finished, and streamed to its end.

`python -m benchmarks.long_replies [--runs 3] [--static FOLDER]` prints a table. FOLDER has the built files to measure, also
those of an earlier commit; by default those of this one. It needs Chromium on PATH.
"""

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import CDPSession, Page, sync_playwright

from tests.browser.bundles import ROOT
from tests.browser.pages import serve_pages

from .markdown import reply

KILOBYTES = (30, 60, 120, 240, 460)
DELTAS = 60
STATIC = ROOT / "streaming_chat" / "static" / "streaming_chat"
PAGE = (
    b"<!doctype html><meta charset=utf-8><title>Long replies</title><link rel=icon href='data:,'>"
    b"<link rel=stylesheet href=/chat.css><body><streaming-chat layout=page><div class=sc-frame><section class=sc-main>"
    b"<div class=sc-scroll><ol class=sc-messages><li class=sc-reply></li></ol></div></section></div></streaming-chat>"
    b"<script type=module src=/page.js></script>"
)


def _main_thread(session: CDPSession) -> float:
    """Return how long the main thread has worked so far, in milliseconds."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return 1000 * next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration")


def _measure(page: Page, session: CDPSession, text: str, deltas: int, runs: int) -> tuple[float, float]:
    """Return the least total and the least longest task of several runs: the machine may be busy with something else."""
    totals, longest = [], []
    for _ in range(runs):
        before = _main_thread(session)
        found = page.evaluate("([text, deltas]) => window.show(text, deltas)", [text, deltas])
        totals.append(_main_thread(session) - before)
        longest.append(found["longest"])
    return min(totals), min(longest)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--static", type=Path, default=STATIC)
    parser.add_argument("--sizes", type=int, nargs="*", default=KILOBYTES)
    options = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        parser.error("this needs Chromium on PATH.")

    script = (ROOT / "benchmarks" / "long_replies.js").read_bytes()
    pages = {"/": ("text/html", PAGE), "/page.js": ("text/javascript", script)}
    for name in ("chat.css", "markdown.js", "highlighter.js", "typesetter.js"):
        kind = "text/css" if name.endswith(".css") else "text/javascript"
        pages[f"/{name}"] = (kind, (options.static / name).read_bytes())
    print("| KB | opened: all, ms | opened: longest task, ms | streamed: all, ms | streamed: longest task, ms |")
    print("|---|---|---|---|---|")
    with serve_pages(pages) as root, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1100, "height": 760})
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable")
        page.goto(root)
        page.wait_for_selector("body[data-ready]")
        for kilobytes in options.sizes:
            text = reply(kilobytes * 1024)
            opened = _measure(page, session, text, 1, options.runs)
            streamed = _measure(page, session, text, DELTAS, options.runs)
            figures = " | ".join(f"{milliseconds:,.0f}" for milliseconds in (*opened, *streamed))
            print(f"| {kilobytes} | {figures} |", flush=True)
        browser.close()


if __name__ == "__main__":
    main()
