"""Tools of the checker's site. Each call has a name of its own among its arguments, by which the ledger knows it."""

from __future__ import annotations

import asyncio
import random
import time

from streaming_chat.tools import Toolbox

from . import held
from .ledger import BEGUN, DONE, note
from .provider import NEEDS_ANSWER

_LONGEST_SECONDS = 1.5

tools = Toolbox()


def _needs_answer(context, arguments) -> bool:
    held.hold("policy asked", arguments.call)
    return arguments.call.endswith(NEEDS_ANSWER)


@tools.tool(effect="write", approval=_needs_answer)
def write(context, call: str) -> str:
    """Write into the ledger, in a thread."""
    note(BEGUN, call)
    held.hold("begun", call)
    time.sleep(_seconds(call))
    note(DONE, call)
    held.hold("done", call)
    return f"wrote {call}"


@tools.tool(effect="write", approval=_needs_answer)
async def write_in_loop(context, call: str) -> str:
    """Write into the ledger, in the event loop."""
    note(BEGUN, call)
    await asyncio.sleep(_seconds(call))
    note(DONE, call)
    return f"wrote {call}"


def _seconds(call: str) -> float:
    return 0.0 if held.FOLDER else random.Random(call).uniform(0, _LONGEST_SECONDS)
