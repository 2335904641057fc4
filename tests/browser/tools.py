"""The tools of the site that the browser tests serve with TOOLS=1."""

from __future__ import annotations

import asyncio
from pathlib import Path

from streaming_chat.accounts.permissions import Permissions
from streaming_chat.tools import Toolbox

tools = Toolbox()


class OnlyStaff(Permissions):
    """Owners may not answer."""

    def may_answer(self, request, owner, conversation) -> bool:
        return False


@tools.tool
def weather(context, city: str) -> dict:
    """The weather of a city."""
    return {"city": city, "sky": "clear"}


@tools.tool
async def held(context, path: str) -> str:
    """Wait until there is a file, which the test makes."""
    while not Path(path).exists():  # noqa: ASYNC110, ASYNC240  (of another process)
        await asyncio.sleep(0.02)
    return "opened"


@tools.tool(effect="write", approval=True, editable=True)
def pay(context, amount: int, to: str = "the shop") -> str:
    """Pay an amount."""
    return f"paid {amount} to {to}"


@tools.tool(effect="write", approval=True)
def post_note(context, text: str) -> str:
    """Post a note."""
    return text


@tools.tool(runs="client")
def locate(context) -> str:
    """Where the user is."""
