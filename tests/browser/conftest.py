"""Chromium, and servers for it: uvicorn in a process of its own, on the test's database and the loopback provider.

A page that breaks its Content-Security-Policy, or whose script throws, fails its test whatever else it does.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.database import database_url
from tests.factories import make_user
from tests.provider_server import ProviderServer

from .chromium import CHROMIUM_ARGS, chromium_path
from .server import Server

WATCH = """
addEventListener("securitypolicyviolation", (event) => reportFault(`${event.violatedDirective} ${event.blockedURI}`));
"""

# Two cores shared by a browser, a server and a test are slow at times; Playwright's own patience is 5 s.
expect.set_options(timeout=15_000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in this folder, and nothing else: pytest hands over the items of the whole run."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def chromium(django_db_setup: None) -> Iterator[Browser]:
    """Return Debian's Chromium; there is no other, and a test without it has failed."""
    path = chromium_path()
    assert path, "the browser tests need Chromium on PATH."

    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        # Playwright keeps an event loop in this thread, where the ORM otherwise refuses to work.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def loopback() -> Iterator[ProviderServer]:
    with ProviderServer() as server:
        yield server


@pytest.fixture
def provider(loopback: ProviderServer) -> Iterator[ProviderServer]:
    """Return the loopback provider, with nothing queued or recorded."""
    loopback.clear()
    yield loopback
    loopback.clear()


@contextmanager
def serve(**environment: str) -> Iterator[str]:
    """Run uvicorn on a free port of 127.0.0.1; yields the site's root without a slash at its end."""
    with Server(**environment) as server:
        yield server.root


@pytest.fixture(scope="session")
def site(chromium: Browser, loopback: ProviderServer, django_db_blocker) -> Iterator[str]:
    with django_db_blocker.unblock():
        url = database_url()
    with serve(DATABASE_URL=url, PROVIDER_URL=loopback.openai_url) as root:
        yield root


@pytest.fixture
def user(transactional_db: None):
    return make_user("ana")


def sign_in(context: BrowserContext, site: str, user) -> None:
    """Give the context a session of the user's, as the login page would."""
    client = Client()
    client.force_login(user)
    cookie = client.cookies[settings.SESSION_COOKIE_NAME]
    context.add_cookies([{"name": cookie.key, "value": cookie.value, "url": site}])


@contextmanager
def watched(browser: Browser, **options) -> Iterator[BrowserContext]:
    """Yield a context whose pages may neither break their policy nor throw."""
    faults: list[str] = []
    context = browser.new_context(**options)
    context.expose_function("reportFault", lambda fault: faults.append(fault))  # noqa: PLW0108  (it cannot bind built-ins)
    context.add_init_script(WATCH)
    context.on("weberror", lambda error: faults.append(str(error.error)))
    try:
        yield context
    finally:
        context.close()

    assert faults == []


@pytest.fixture
def context(chromium: Browser, site: str, user) -> Iterator[BrowserContext]:
    with watched(chromium, base_url=site, viewport={"width": 1100, "height": 760}) as context:
        sign_in(context, site, user)
        yield context


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()
