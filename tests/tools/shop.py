"""Tools of a test's site. The ledger is what they have done, in a file: also in processes of their own."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from decimal import Decimal
from pathlib import Path

from django.contrib.auth import get_user_model
from django.db import connection

from streaming_chat.tools import Toolbox, ToolError

tools = Toolbox()
# Held by a test: what the tools named `held…` wait for, and whether one has begun.
gate = threading.Event()
begun = threading.Event()
cancelled = threading.Event()


def ledger() -> list[str]:
    """Return what the tools have done, a line each."""
    path = Path(os.environ["SHOP_LEDGER"])
    return path.read_text().splitlines() if path.exists() else []


def note(line: str) -> None:
    """Add a line, which is on the disk when this returns."""
    with Path(os.environ["SHOP_LEDGER"]).open("a") as file:
        file.write(f"{line}\n")
        file.flush()
        os.fsync(file.fileno())


@tools.tool
def weather(context, city: str) -> dict:
    """The weather of a city."""
    return {"city": city, "sky": "clear"}


@tools.tool
async def clock(context) -> str:
    """The time."""
    await asyncio.sleep(0.05)
    return "12:00"


@tools.tool(effect="write", timeout=5)
def refund(context, order: int, amount: Decimal) -> str:
    """Refund an order."""
    return _refunded(context, order, amount)


@tools.tool(effect="write", timeout=5, approval=True)
def approved_refund(context, order: int, amount: Decimal) -> str:
    """Refund an order, once a person has allowed it."""
    return _refunded(context, order, amount)


@tools.tool(effect="write", timeout=5, idempotent=True)
def keyed_refund(context, order: int, amount: Decimal) -> str:
    """Refund an order, once for each key."""
    note(f"key {context.key}")
    return _refunded(context, order, amount)


def _refunded(context, order: int, amount: Decimal) -> str:
    seconds = float(os.environ.get("SHOP_SECONDS", "0"))
    note(f"begin {order}")
    time.sleep(seconds)
    note(f"refund {order} {amount}")
    time.sleep(seconds)
    return f"refunded {order}"


@tools.tool(effect="write", approval=lambda context, arguments: arguments.amount > 100, editable=True)
def pay(context, amount: int) -> str:
    """Pay an amount."""
    note(f"pay {context.call_id} {amount}")
    return f"paid {amount}"


@tools.tool(permission="auth.view_user")
def people(context) -> int:
    """The number of users."""
    return get_user_model().objects.count()


@tools.tool
def named(context) -> str:
    """Who the tool acts for, and whether its connection is its own."""
    return f"{context.user().get_username()} {connection.connection is not None}"


@tools.tool(effect="write")
async def held(context, name: str) -> str:
    """Wait for the test."""
    begun.set()
    try:
        await asyncio.to_thread(gate.wait, 10)
    except asyncio.CancelledError:
        cancelled.set()
        raise
    note(f"held {name}")
    return name


@tools.tool
def broken(context) -> str:
    """Break."""
    raise RuntimeError("a secret")


_ERRORS = (SystemExit, StopIteration, RecursionError, asyncio.CancelledError, GeneratorExit)


@tools.tool
def ending(context, number: int) -> str:
    """Raise what ends more than a call."""
    raise _ERRORS[number]("a secret")


@tools.tool
async def ending_later(context, number: int) -> str:
    """Raise what ends more than a call."""
    raise _ERRORS[number]("a secret")


@tools.tool
def hopeless(context) -> str:
    """Say why it cannot work."""
    raise ToolError("Ask for the number first.")


@tools.tool
def long(context, chars: int) -> str:
    """Return a long text."""
    return "x" * chars


@tools.tool(timeout=0.1)
async def slow(context) -> str:
    """Take too long."""
    await asyncio.sleep(60)


@tools.tool(effect="write", timeout=0.1)
async def slow_write(context) -> str:
    """Take too long."""
    await asyncio.sleep(60)


@tools.tool(runs="client")
def locate(context, precise: bool = False) -> str:
    """Where the user is."""
    note("located by the server")
