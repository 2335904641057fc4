"""JSON schemas in the form that every API takes."""

from itertools import pairwise

import pytest
from django.test import SimpleTestCase
from pydantic import BaseModel

from streaming_chat.tools.schemas import flat, is_recursive, problem_with

pytestmark = pytest.mark.once

OBJECT = {"type": "object", "properties": {}}


class Street(BaseModel):
    title: str


class Address(BaseModel):
    street: Street
    old: list[Street] = []


class Node(BaseModel):
    leaf: Street | None = None
    children: list["Node"] = []


class Tree(BaseModel):
    root: Node


def chain(length):
    """Return a schema that doubles with each of its definitions."""
    names = [f"D{number}" for number in range(length)]
    definitions = {names[-1]: {"type": "string"}}
    for name, after in pairwise(names):
        definitions[name] = {"properties": {key: {"$ref": f"#/$defs/{after}"} for key in "ab"}}
    return {**OBJECT, "properties": {"a": {"$ref": "#/$defs/D0"}}, "$defs": definitions}


class FlatTests(SimpleTestCase):
    def test_definitions_stand_where_they_are_used(self):
        street = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}

        assert flat(Address.model_json_schema()) == {
            "type": "object",
            "properties": {"street": street, "old": {"type": "array", "items": street, "default": []}},
            "required": ["street"],
        }

    def test_a_definition_that_contains_itself_stays(self):
        found = flat(Tree.model_json_schema())

        assert found["properties"] == {"root": {"$ref": "#/$defs/Node"}}
        assert [*found["$defs"]] == ["Node"]
        assert found["$defs"]["Node"]["properties"]["leaf"]["anyOf"][0]["properties"] == {"title": {"type": "string"}}
        assert is_recursive(found)
        assert not is_recursive(flat(Address.model_json_schema()))

    def test_what_stands_beside_a_reference_is_kept(self):
        """An API takes no key beside a reference."""
        schema = {
            **OBJECT,
            "properties": {"a": {"$ref": "#/$defs/A", "description": "B"}},
            "$defs": {"A": {"type": "string"}},
        }

        assert flat(schema)["properties"] == {"a": {"type": "string", "description": "B"}}

    def test_references_of_other_libraries(self):
        """zod refers to the first use of a type, and older drafts have `definitions`."""
        properties = {"a/b": {"type": "string"}, "b": {"$ref": "#/properties/a~1b"}, "c": {"$ref": "#/definitions/C"}}
        found = flat({**OBJECT, "properties": properties, "definitions": {"C": {"type": "integer"}}})

        assert found["properties"] == {"a/b": {"type": "string"}, "b": {"type": "string"}, "c": {"type": "integer"}}
        assert "definitions" not in found

    def test_values_are_no_schemas(self):
        schema = {**OBJECT, "properties": {"title": {"default": {"title": "a", "$ref": "b"}, "title": "Title"}}}

        assert flat(schema)["properties"] == {"title": {"default": {"title": "a", "$ref": "b"}}}

    def test_a_schema_that_grows_without_end(self):
        """A server of tools is not trusted."""
        nested = {"type": "string"}
        for _ in range(60):
            nested = {"type": "array", "items": nested}
        for schema in (chain(40), {**OBJECT, "properties": {"a": nested}}):
            with self.assertRaisesMessage(ValueError, "The schema is too large."):
                flat(schema)


class ProblemTests(SimpleTestCase):
    def test_what_every_api_takes(self):
        for name in ("a", "find_orders", "Find-2", "a" * 64):
            assert problem_with(name, OBJECT) == ""

    def test_names(self):
        for name in ("", "a b", "a.b", "ä", "a" * 65, "a\n"):
            with self.subTest(name):
                assert problem_with(name, OBJECT).startswith("its name must be 1 to 64 characters")

    def test_schemas(self):
        for schema, problem in (
            ([], "must have the type object"),
            ({}, "must have the type object"),
            ({"type": "array"}, "must have the type object"),
            ({**OBJECT, "anyOf": [OBJECT]}, "must not have anyOf at the top"),
            ({**OBJECT, "properties": {"a": {"$ref": "#/$defs/A"}}}, "refers to '#/$defs/A', which it does not define"),
            ({**OBJECT, "properties": {"a": {"$ref": "https://a.example/"}}}, "refers to 'https://a.example/'"),
        ):
            with self.subTest(schema):
                assert problem in problem_with("a", schema)

    def test_a_field_may_be_named_like_a_keyword(self):
        assert problem_with("a", {**OBJECT, "properties": {"$ref": {"type": "string"}, "anyOf": {}}}) == ""
