"""What it costs the browser to show Markdown as it arrives, beside reading all of it again at each delta.

`python -m benchmarks.markdown [--runs 3]` prints a table. It needs Chromium on PATH and frontend/node_modules.
"""

import argparse
import itertools
import shutil
from collections.abc import Iterator
from statistics import median

from playwright.sync_api import Page, sync_playwright

from tests.browser.bundles import ROOT, bundle
from tests.browser.pages import serve_pages

SIZE = 32 * 1024
DELTAS = 1_000
CSS = ROOT / "frontend" / "src" / "markdown" / "markdown.css"
PAGE = (
    b'<!doctype html><meta charset=utf-8><title>Markdown</title><link rel=icon href="data:,">'
    b"<link rel=stylesheet href=/markdown.css><body><script type=module src=/markdown.js></script>"
)

PROSE = (
    "The writer saves **every half second**, so a reply that is cut loses little; see [the notes](https://e.example/{n}) "
    "and `flush_{n}()`. What a *reader* saw last is kept as its position, and a position means the same everywhere."
)
ITEM = "- **Point {n}**: the lease is renewed at a third of its time, `lease={n}`, and *settled* when it has run out"
ROW = "| worker {n} | {n} ms | `state_{n}` | renewed, and **held** |"
CODE = {
    "python": "def flush_{n}(rows: list[int]) -> int:\n    return sum(row for row in rows if row > {n})  # kept\n",
    "js": "export function flush{n}(rows) {{\n  return rows.filter((row) => row > {n}).length;\n}}\n",
    "sql": "SELECT id, position FROM events WHERE position > {n} ORDER BY position;\n",
}
HEAD = "| worker | time | state | what |\n|:--|--:|---|---|"


def _lines(template: str, count: int, start: int = 0) -> str:
    return "\n".join(template.format(n=n) for n in range(start, start + count))


def _sections() -> Iterator[str]:
    """Yield what models answer with, over and over: prose, a list, code, a table."""
    for number, language in zip(itertools.count(), itertools.cycle(CODE)):
        yield f"## Step {number}\n\n{PROSE.format(n=number)}\n\n{PROSE.format(n=number + 1)}"
        yield _lines(ITEM, 6, number)
        yield f"```{language}\n{_lines(CODE[language], 6, number)}\n```"
        yield f"{HEAD}\n{_lines(ROW, 6, number)}"


def reply(size: int = SIZE) -> str:
    """Return a reply of so many characters as models write them."""
    text = ""
    for section in _sections():
        if len(text) + len(section) > size:
            return text
        text += section + "\n\n"
    raise AssertionError("sections never end.")


TEXTS = {
    "a reply": reply(),
    "one list": _lines(ITEM, SIZE // len(ITEM)),
    "one block of code": f"```python\n{_lines(CODE['python'], SIZE // len(CODE['python']))}",
    "one table": f"{HEAD}\n{_lines(ROW, SIZE // len(ROW))}",
    "one paragraph": _lines(PROSE, SIZE // len(PROSE)),
}


def _measure(page: Page, way: str, text: str, runs: int) -> tuple[float, float]:
    """Return the medians of the total and of the longest frame, in milliseconds."""
    call = "([way, text, deltas]) => window.measure(way, text, deltas)"
    found = [page.evaluate(call, [way, text, DELTAS]) for _ in range(runs)]
    return median(run["total"] for run in found), median(run["longest"] for run in found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        parser.error("this needs Chromium on PATH.")

    pages = {
        "/": ("text/html", PAGE),
        "/markdown.css": ("text/css", CSS.read_bytes()),
        "/markdown.js": ("text/javascript", bundle(ROOT / "benchmarks" / "markdown.js")),
    }
    print("| 32 KB, 1,000 deltas | all, ms | longest frame, ms | all again: all, ms | all again: longest frame, ms |")
    print("|---|---|---|---|---|")
    with serve_pages(pages) as root, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 800, "height": 700})
        page.goto(root)
        page.wait_for_load_state("load")
        for name, text in TEXTS.items():
            ours = _measure(page, "blocks", text, runs)
            again = _measure(page, "all", text, 1)
            print(f"| {name} | {ours[0]:.0f} | {ours[1]:.1f} | {again[0]:,.0f} | {again[1]:.1f} |", flush=True)
        browser.close()


if __name__ == "__main__":
    main()
