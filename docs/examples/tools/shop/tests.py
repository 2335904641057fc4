"""Tests of the shop's tools: no provider, no key and no network."""

from decimal import Decimal

from django.contrib.auth.models import Permission, User
from django.test import TestCase, TransactionTestCase

from streaming_chat.testing import (
    Script,
    answer_calls,
    call_tool,
    read_stream,
    read_until_waiting,
    scripted_provider,
    wait_until_saved,
)
from streaming_chat.tools import ToolError

from .chat import orders, pages
from .models import Order, Page


def make_customer(name="ana"):
    customer = User.objects.create_user(name)
    customer.user_permissions.set(Permission.objects.filter(codename__in=["view_order", "change_order"]))
    return customer


class ToolTests(TestCase):
    """Each tool by itself, inside the test's transaction."""

    def setUp(self):
        self.customer = make_customer()
        self.order = Order.objects.create(owner=self.customer, status="paid", total=250)

    def refund(self, amount, **options):
        arguments = {"order": self.order.pk, "amount": amount}
        return call_tool(orders, "refund", arguments, user=self.customer, **options)

    def refunded(self):
        self.order.refresh_from_db()
        return self.order.refunded

    def test_customers_find_their_own_orders(self):
        Order.objects.create(owner=make_customer("bo"), total=999)
        found = call_tool(orders, "find_orders", user=self.customer)

        assert found.status == "ok"
        assert '"total": "250.00"' in found.output
        assert "999" not in found.output

    def test_visitors_find_none(self):
        assert call_tool(orders, "find_orders").status == "denied"

    def test_arguments_are_checked(self):
        refused = call_tool(orders, "find_orders", {"status": "lost"}, user=self.customer)

        assert refused.status == "error"
        assert "status" in refused.output

    def test_only_published_pages_are_found(self):
        Page.objects.create(title="Returns", slug="returns", text="Within 30 days.", is_published=True)
        Page.objects.create(title="Returns, draft", slug="draft", text="Within 90 days.")
        found = call_tool(pages, "search_pages", {"words": "returns days"})

        assert found.output.count("/help/") == 1

    def test_a_small_refund_runs_at_once(self):
        assert self.refund("20.50").status == "ok"
        assert self.refunded() == Decimal("20.50")

    def test_a_large_refund_waits_for_the_customer(self):
        assert self.refund(200).status == "waiting"
        assert self.refunded() == 0

        assert self.refund(200, approved=True).status == "ok"
        assert self.refunded() == 200

    def test_nobody_refunds_more_than_was_paid(self):
        refused = self.refund(251, approved=True)

        assert refused.status == "error"
        assert "250.00 of it has not been refunded" in refused.output
        assert self.refunded() == 0

    def test_another_customers_order_looks_like_none(self):
        refused = call_tool(orders, "refund", {"order": self.order.pk, "amount": 1}, user=make_customer("bo"))

        assert "There is no order" in refused.output


class ReplyTests(TransactionTestCase):
    """Replies in which tools run. They run in threads, so their rows must be committed."""

    def setUp(self):
        self.addCleanup(wait_until_saved)
        self.customer = make_customer()
        self.order = Order.objects.create(owner=self.customer, status="paid", total=250)
        self.client.force_login(self.customer)

    def send(self, content):
        return self.client.post("/chat/api/messages", {"content": content}, content_type="application/json")

    def test_the_model_gets_the_orders(self):
        asks = Script("I look.", tool_calls=[("find_orders", {"status": "paid"})])
        with scripted_provider(asks, Script("You have one order."), tools=["orders"]) as provider:
            streamed = read_stream(self.send("What have I ordered?"))

        assert streamed.text == "I look.\n\nYou have one order."
        assert [result["status"] for result in streamed.tool_results] == ["ok"]
        assert '"total": "250.00"' in provider.calls[1].prompt.turns[-1].text

    def refund(self, **answer):
        """Ask for a large refund, answer, and return the stream after the answer."""
        asks = Script(tool_calls=[("refund", {"order": self.order.pk, "amount": "200"})])
        with scripted_provider(asks, Script("As you wish."), tools=["orders"]):
            waiting = read_until_waiting(self.send("Refund my order."))
            return read_stream(answer_calls(self.client, waiting, **answer))

    def test_the_customer_allows_a_refund(self):
        streamed = self.refund()
        self.order.refresh_from_db()

        assert streamed.tool_results[0]["status"] == "ok"
        assert streamed.end["status"] == "completed"
        assert self.order.refunded == 200

    def test_the_customer_does_not_allow_a_refund(self):
        streamed = self.refund(approved=False, reason="That is too much.")
        self.order.refresh_from_db()

        assert streamed.tool_results[0]["status"] == "denied"
        assert self.order.refunded == 0

    def test_the_tickets_of_another_server(self):
        """Its results are scripted, so there is no connection."""
        asks = Script(tool_calls=[("search_tickets", {"word": "parcel"})])
        for result, status in ((["The parcel is lost."], "ok"), (ToolError("The server is away."), "error")):
            with scripted_provider(asks, Script("I am sorry."), results={"search_tickets": result}):
                streamed = read_stream(self.send("Where is my parcel?"))

            assert streamed.tool_results[0]["status"] == status
