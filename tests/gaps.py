"""How far apart events arrive, straight from uvicorn and through nginx as docs/deployment.md has it:

    python -m tests.gaps

A provider on loopback sends a word every 20 ms, curl receives. Prints the table of that page, in milliseconds. Needs what
the tests need that are marked nginx.
"""

import itertools
import os
import statistics
import sys
import time
from typing import TYPE_CHECKING

import django

if TYPE_CHECKING:
    from .servers import Exchange

_WORDS = [f"word{number} " for number in range(250)]
_ROUNDS = 4
# Of two that came together, the second waited for the first one's company.
_TOGETHER_SECONDS = 0.002


def measure() -> dict[str, list[float]]:
    """Return the seconds between arrivals, by the way that events came."""
    # After django.setup().
    from .nginx import HTTP1, HTTP2, Nginx, ProxiedBrowser
    from .provider_server import ProviderServer, Script
    from .servers import ProcessServer, site
    from .test_behind_nginx import GZIP_EVERYTHING

    gaps: dict[str, list[float]] = {}
    with (
        ProviderServer() as provider,
        ProcessServer(site(provider)) as server,
        Nginx(server.port) as nginx,
        Nginx(server.port, http=GZIP_EVERYTHING) as zipping,
    ):
        provider.default = Script(_WORDS, pause=0.02)
        direct = ProxiedBrowser(nginx, HTTP1)
        direct.origin = f"http://localhost:{server.port}"
        ways = {
            "uvicorn alone, HTTP/1.1": direct,
            "nginx, HTTP/1.1 with TLS": ProxiedBrowser(nginx, HTTP1),
            "nginx, HTTP/2 with TLS": ProxiedBrowser(nginx, HTTP2),
            "nginx, HTTP/2 with TLS, gzip for every type": ProxiedBrowser(zipping, HTTP2),
        }
        # Round after round, so that what else the machine does meets all alike.
        for _round, (way, browser) in itertools.product(range(_ROUNDS), ways.items()):
            gaps.setdefault(way, []).extend(_gaps(browser.send("Hello")))
            browser.close()
    return gaps


def main() -> None:
    """Measure on a database of its own, and print."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    from django.test.runner import DiscoverRunner

    runner = DiscoverRunner(verbosity=0, interactive=False)
    databases = runner.setup_databases()
    try:
        gaps = measure()
    finally:
        runner.teardown_databases(databases)
    sys.stdout.write("| way | p50 | p99 | longest | came together |\n|---|---|---|---|---|\n")
    for way, found in gaps.items():
        quantiles = statistics.quantiles(found, n=100)
        figures = " | ".join(f"{seconds * 1000:.1f}" for seconds in (quantiles[49], quantiles[98], max(found)))
        together = sum(gap < _TOGETHER_SECONDS for gap in found)
        sys.stdout.write(f"| {way} | {figures} | {together} of {len(found)} |\n")


def _gaps(exchange: "Exchange") -> list[float]:
    times = []
    while exchange._next_frame():
        times.append(time.monotonic())
    # Neither the start nor the ending, which come when they may.
    return [later - earlier for earlier, later in itertools.pairwise(times[1:-2])]


if __name__ == "__main__":
    main()
