"""axe-core, asked about a page: every rule it has, with those of good practice."""

from pathlib import Path
from typing import Any

from playwright.sync_api import Page

_SOURCE = Path(__file__).resolve().parent.parent.parent / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
_RUN = """async (within) => {
    const { violations } = await axe.run(within ?? document, { resultTypes: ["violations"] });
    return violations.map(({ id, nodes }) => [id, nodes.map(({ html, failureSummary }) => `${html}: ${failureSummary}`)]);
}"""


def violations(page: Page, within: str | None = None) -> list[Any]:
    """Return what axe finds wrong with the page as it is, as [rule, [element and reason, …]].

    within: a selector, where the rest of the page is not ours.
    """
    if not page.evaluate("'axe' in window"):
        page.evaluate(_SOURCE.read_text())
    return page.evaluate(_RUN, within)
