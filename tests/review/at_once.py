"""Calls at the same moment, in threads with a connection each."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import connections

from streaming_chat.review.reviews import StaleReviewError


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Return what the calls returned, or the StaleReviewError that they raised, begun at the same moment."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        try:
            barrier.wait(20)
            return call()
        except StaleReviewError as stale:
            return stale
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))
