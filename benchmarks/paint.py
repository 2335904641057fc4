"""How long the browser takes for a page of the admin, from the click to its full paint, on a database of `benchmarks.admin`.

`DATABASE_URL=… python -m benchmarks.paint [--runs 11]` serves that database by uvicorn, opens each page in Chromium with an
empty cache, and prints median and maximum in milliseconds: until the answer began, until the largest of it was painted, and
until everything was loaded.
"""

import argparse
import os
from statistics import median
from typing import Any

import django
from playwright.sync_api import Browser, sync_playwright

from tests.browser.chromium import CHROMIUM_ARGS, chromium_path
from tests.browser.server import Server

from .admin import CONVERSATIONS, with_search
from .measures import machine, table

_TIMES = """() => new Promise((resolve) => {
    const { responseStart, loadEventEnd } = performance.getEntriesByType("navigation")[0];
    const told = (list) => resolve([responseStart, list.getEntries().at(-1).startTime, loadEventEnd]);
    new PerformanceObserver(told).observe({ type: "largest-contentful-paint", buffered: true });
})"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=11)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    client = _client()
    pages, session = _pages(client), client.cookies["sessionid"].value
    rows = []
    with Server() as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=CHROMIUM_ARGS)
        for name, path in pages.items():
            _open(browser, server.root, path, session)
            times = [_open(browser, server.root, path, session) for _run in range(options.runs)]
            rows.append([name, *(f"{median(each):.0f} / {max(each):.0f}" for each in zip(*times, strict=True))])
        browser.close()
    print(machine())
    print(table(["page", "answer began, ms", "largest paint", "all loaded"], rows))


def _pages(client: Any) -> dict[str, str]:
    from streaming_chat.models import Conversation, Message

    message = Message.objects.filter(role="assistant").order_by("-id")[500]
    longest = Conversation.objects.order_by("-message_count", "-pk").first()
    return {
        "conversations": CONVERSATIONS,
        "a transcript": f"{CONVERSATIONS}{message.conversation_id}/change/",
        f"the longest transcript, {longest.message_count} messages": f"{CONVERSATIONS}{longest.pk}/change/",
        "a search": with_search(client, f"{CONVERSATIONS}search/?q=order"),
        "numbers of 28 days": f"{CONVERSATIONS}numbers/?days=28",
    }


def _client() -> Any:
    from django.contrib.auth import get_user_model
    from django.test import Client

    client = Client()
    client.force_login(get_user_model().objects.get_or_create(username="bench", is_staff=True, is_superuser=True)[0])
    return client


def _open(browser: Browser, root: str, path: str, session: str) -> list[float]:
    # A context of its own has an empty cache.
    context = browser.new_context(base_url=root, viewport={"width": 1400, "height": 900})
    context.add_cookies([{"name": "sessionid", "value": session, "url": root}])
    page = context.new_page()
    answer = page.goto(path)
    if answer is None or answer.status != 200:
        raise SystemExit(f"{path} was to be shown, got {answer and answer.status}.")
    times = page.evaluate(_TIMES)
    context.close()
    return times


if __name__ == "__main__":
    main()
