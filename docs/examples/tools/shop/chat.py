"""What the models of the shop's chat may do."""

from decimal import Decimal
from typing import Annotated, Literal

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from pydantic import Field

from streaming_chat.tools import McpToolbox, Toolbox, ToolContext, ToolError

from .models import Order, Page

orders = Toolbox()
pages = Toolbox()

Limit = Annotated[int, Field(ge=1, le=20)]
Amount = Annotated[Decimal, Field(gt=0, decimal_places=2)]


@orders.tool(permission="shop.view_order")
def find_orders(context: ToolContext, status: Literal["open", "paid"] | None = None, limit: Limit = 10):
    """Find the orders of the user, newest first.

    Args:
        status: Leave it out for all orders.
        limit: The number of orders.
    """
    found = Order.objects.filter(owner_id=context.user_id).order_by("-pk")
    if status:
        found = found.filter(status=status)
    return found.values("id", "status", "total", "refunded", "created")[:limit]


@pages.tool
def search_pages(context: ToolContext, words: str, limit: Limit = 5):
    """Search the help pages of the shop: delivery, returns, payment, guarantees.

    Use it before you answer a question about the shop, and name the address of the page.

    Args:
        words: All of them must occur in the page.
        limit: The number of pages.
    """
    found = Page.objects.filter(is_published=True)
    for word in words.split()[:10]:
        found = found.filter(Q(title__icontains=word) | Q(text__icontains=word))
    return [
        {"title": page.title, "address": f"/help/{page.slug}/", "text": page.text[:2000]}
        for page in found.order_by("title")[:limit]
    ]


def is_large(context: ToolContext, arguments) -> bool:
    """Say whether the user must allow a refund first."""
    return arguments.amount > 100


@orders.tool(effect="write", permission="shop.change_order", approval=is_large, editable=True)
def refund(context: ToolContext, order: int, amount: Amount) -> str:
    """Refund a part of an order of the user, or all of it."""
    with transaction.atomic():
        found = Order.objects.select_for_update().filter(pk=order, owner_id=context.user_id).first()
        if found is None:
            raise ToolError(f"There is no order {order}. Find the orders of the user first.")
        left = found.total - found.refunded
        if found.status != "paid" or amount > left:
            raise ToolError(f"The order {order} is {found.status}, and {left} of it has not been refunded.")
        found.refunded += amount
        found.save(update_fields=["refunded"])
    return f"{amount} of the order {order} will be refunded within three days."


tickets = McpToolbox(
    settings.TICKETS_URL,
    headers={"Authorization": f"Bearer {settings.TICKETS_TOKEN}"},
    only=["search_tickets", "open_ticket"],
    permission="shop.view_order",
    approval="unless_read_only",
)
