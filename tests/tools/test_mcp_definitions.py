"""Which tools of a server can be used. A server may offer anything."""

import json

import pytest
from django.test import SimpleTestCase

from streaming_chat.tools.mcp_definitions import Definition, as_text, from_text, usable

pytestmark = pytest.mark.once

OBJECT = {"type": "object", "properties": {}}


def offered(name="find", description="Find.", parameters=OBJECT, *, read_only=False):
    return {"name": name, "description": description, "parameters": parameters, "read_only": read_only}


def nested(depth):
    schema = OBJECT
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


class UsableTests(SimpleTestCase):
    def found(self, *tools, prefix=""):
        return [definition.name_for_model(prefix) for definition in usable(tools)]

    def test_names(self):
        assert self.found(offered("a.b/c"), offered("d"), prefix="x_") == ["x_a_b_c", "x_d"]

    def test_those_that_cannot_be_sent_are_left_out(self):
        for tool, reason in (
            (offered("a" * 65), "its name must be"),
            (offered(""), "its name must be"),
            (offered(parameters={"type": "string"}), "must have the type object"),
            (offered(parameters={**OBJECT, "anyOf": [OBJECT]}), "must not have anyOf at the top"),
            (offered(parameters={**OBJECT, "properties": {"a": {"$ref": "file:///etc/passwd"}}}), "does not define"),
            (offered(parameters={**OBJECT, "properties": {"a": {"type": 5}}}), "is not a JSON schema"),
            (offered(parameters=nested(100)), "too large"),
            (offered(parameters=nested(5_000)), "too deep"),
            (offered(description="a" * 20_000), "have more than 16000 characters"),
        ):
            with self.subTest(reason), self.assertLogs("streaming_chat", "WARNING") as logs:
                assert self.found(tool, offered("good")) == ["good"]
            assert reason in logs.output[0]

    def test_two_of_one_name(self):
        with self.assertLogs("streaming_chat", "WARNING"):
            found = usable([offered("a.b", "first"), offered("a_b", "second")])

        assert [definition.description for definition in found] == ["first"]

    def test_all_together_have_a_limit(self):
        """They are stored for each list, and are a part of each prompt."""
        with self.assertLogs("streaming_chat", "WARNING") as logs:
            found = self.found(*(offered(f"find_{number}", "a" * 10_000) for number in range(60)))

        assert found == [f"find_{number}" for number in range(49)]
        assert "have more than 500000 characters" in logs.output[0]

    def test_what_a_database_cannot_store(self):
        parameters = {**OBJECT, "title": "\0", "$comment": "\0"}
        [definition] = usable([offered(description="a\0\ud800", parameters=parameters)])

        assert "\0" not in json.dumps(definition)
        assert "\\u0000" not in as_text([definition])
        assert "\ud800" not in definition.description

    def test_the_order_of_fields_is_kept(self):
        """The model reads them in the order in which their author wrote them."""
        properties = {name: {"type": "string"} for name in ("zebra", "a", "middle")}
        definition = Definition("find", "Find.", {**OBJECT, "properties": properties}, read_only=True)
        [same] = from_text(as_text([definition]))

        assert same == definition
        assert [*same.parameters["properties"]] == ["zebra", "a", "middle"]
