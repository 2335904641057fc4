"""What staff see of the tools that MCP servers offer."""

from django.test import TestCase

from streaming_chat.models import ToolList
from streaming_chat.tools.mcp_definitions import Definition, as_text
from tests.factories import make_conversation, make_staff, make_user

LIST = "/admin/streaming_chat/toollist/"


def make_list(server, *names):
    definitions = [
        Definition(
            name, f"Description of {name} & more.", {"type": "object", "properties": {"city": {}}}, read_only=True
        )
        for name in names
    ]
    return ToolList.objects.create(server=server, digest=server, definitions=as_text(definitions))


class ToolListTests(TestCase):
    def setUp(self):
        self.client.force_login(make_staff("staff", "view_conversation"))
        self.shop = make_list("https://shop.example/mcp", "find_order", "refund")
        self.other = make_list("https://other.example/mcp", "add")

    def read(self, words=""):
        path = self.client.post(f"{LIST}find/", {"q": words}).url if words else LIST
        return self.client.get(path).content.decode()

    def test_what_a_server_says_of_its_tools(self):
        text = self.read()

        assert "https://shop.example/mcp" in text
        assert "<bdi>find_order</bdi>" in text
        assert "Description of refund &amp; more." in text
        assert "&quot;city&quot;: {}" in text

    def test_a_search_by_conversation_and_by_server(self):
        conversation = make_conversation(make_user())
        self.shop.conversations.add(conversation)
        for words in (str(conversation.pk), "SHOP.example"):
            text = self.read(words)

            assert "find_order" in text
            assert "other.example" not in text

    def test_nobody_changes_it(self):
        for name in ("add/", f"{self.shop.pk}/change/", f"{self.shop.pk}/delete/"):
            assert self.client.get(f"{LIST}{name}").status_code == 404
