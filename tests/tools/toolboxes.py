"""Toolboxes that settings of tests name."""

from decimal import Decimal
from typing import Literal

from pydantic import BaseModel

from streaming_chat.tools import Toolbox

shop = Toolbox()
other_shop = Toolbox()
tree = Toolbox()
silent = Toolbox()
not_a_toolbox = object()


@shop.tool(permission="streaming_chat.view_conversation")
def find_orders(context, status: Literal["open", "paid"], limit: int = 10) -> list[dict]:
    """Orders of the person in this conversation."""
    return [{"owner": context.user_id, "status": status}][:limit]


@shop.tool(effect="write")
async def refund(context, order: int, amount: Decimal) -> str:
    """Refund an order."""
    return f"{amount} for {order}"


@other_shop.tool(name="refund", effect="write", permission="shop.refund")
def refund_elsewhere(context) -> None:
    """Refund an order of the other shop."""


class Node(BaseModel):
    children: list["Node"] = []


@tree.tool
def draw(context, node: Node) -> None:
    """Draw a tree."""


@silent.tool
def guess(context) -> None: ...
