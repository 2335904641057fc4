"""What each API is told of an object, compared with the SDKs."""

import json
from enum import Enum
from typing import Literal

import pytest
from anthropic.lib._parse._transform import transform_schema
from django.test import SimpleTestCase
from openai.lib._pydantic import to_strict_json_schema
from pydantic import BaseModel, Field

from streaming_chat.outputs import output_of
from streaming_chat.providers.anthropic import AnthropicProvider
from streaming_chat.providers.base import Prompt, Turn
from streaming_chat.providers.demo_output import example_of
from streaming_chat.providers.model_options import ModelOptions
from streaming_chat.providers.openai import OpenAIProvider
from streaming_chat.providers.openai_responses import OpenAIResponsesProvider
from streaming_chat.providers.output_schemas import anthropic_format, has_any_keys, openai_format

pytestmark = pytest.mark.once


class Level(Enum):
    EASY = "easy"
    HARD = "hard"


class Step(BaseModel):
    text: str = Field(max_length=200)
    minutes: int | None = None


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = Field(ge=0, le=9)


class Dog(BaseModel):
    kind: Literal["dog"]


class Plain(BaseModel):
    """What both SDKs turn into a schema that their API takes."""

    name: str
    steps: list[Step]
    level: Level


class Rich(BaseModel):
    name: str = "nothing"
    level: Level = Field(description="How hard it is.")
    steps: list[Step] = Field(min_length=2)
    pet: Cat | Dog = Field(discriminator="kind")


class Node(BaseModel):
    value: int
    children: list["Node"] = []
    favourite: "Node | None" = Field(default=None, description="One of them.")


class Scores(BaseModel):
    points: dict[str, int]


OPTIONS = ModelOptions(max_output_tokens=100)


def prompt_for(model, name="any", **fields):
    return Prompt(model=name, turns=(Turn("user", "Hi"),), options=OPTIONS, output=output_of(model), **fields)


def keys_in(value):
    """Return all keys of a JSON value, at any depth, but those of properties and definitions."""
    if isinstance(value, list):
        return {key for item in value for key in keys_in(item)}
    if not isinstance(value, dict):
        return set()
    named = {key for name in ("properties", "$defs") for item in value.get(name, {}).values() for key in keys_in(item)}
    others = {name: item for name, item in value.items() if name not in ("properties", "$defs")}
    return set(value) | named | {key for item in others.values() for key in keys_in(item)}


def objects_in(value):
    """Yield all schemas of objects in one."""
    if isinstance(value, dict):
        if value.get("type") == "object":
            yield value
        for item in value.values():
            yield from objects_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from objects_in(item)


class OpenAISchemaTests(SimpleTestCase):
    def test_a_plain_model_has_the_schema_of_the_sdk(self):
        assert openai_format(output_of(Plain)) == {
            "name": "Plain",
            "schema": to_strict_json_schema(Plain),
            "strict": True,
        }

    def test_every_object_is_closed_and_requires_all(self):
        for model in (Plain, Rich, Node):
            for found in objects_in(openai_format(output_of(model))["schema"]):
                assert found["additionalProperties"] is False
                assert found["required"] == list(found["properties"])

    def test_what_strict_schemas_do_not_permit_is_left_out(self):
        """'oneOf' is not permitted (openai-agents-python#474), 'default' is not (567-labs/instructor#961)."""
        for model in (Plain, Rich, Node):
            assert not keys_in(openai_format(output_of(model))["schema"]) & {"oneOf", "default", "discriminator"}
        rich = openai_format(output_of(Rich))["schema"]["properties"]

        assert rich["level"] == {
            "title": "Level",
            "enum": ["easy", "hard"],
            "type": "string",
            "description": "How hard it is.",
        }
        assert [one["$ref"] for one in rich["pet"]["anyOf"]] == ["#/$defs/Cat", "#/$defs/Dog"]

    def test_a_model_that_contains_itself_begins_with_an_object(self):
        schema = openai_format(output_of(Node))["schema"]

        assert schema["type"] == "object"
        assert schema["properties"]["children"]["items"] == {"$ref": "#/$defs/Node"}

    def test_an_object_with_any_keys_is_not_strict(self):
        assert has_any_keys(output_of(Scores))
        assert openai_format(output_of(Scores))["strict"] is False
        assert not any(has_any_keys(output_of(model)) for model in (Plain, Rich, Node))


class AnthropicSchemaTests(SimpleTestCase):
    def test_a_plain_model_has_the_shape_of_the_sdk(self):
        ours, theirs = anthropic_format(output_of(Plain))["schema"], transform_schema(Plain)

        assert list(ours["properties"]) == list(theirs["properties"])
        assert ours["required"] == theirs["required"]
        assert ours["additionalProperties"] is False
        assert ours["$defs"].keys() == theirs["$defs"].keys()

    def test_bounds_are_told_in_words(self):
        schema = anthropic_format(output_of(Rich))["schema"]

        assert schema["$defs"]["Cat"]["properties"]["lives"]["description"] == "(maximum: 9, minimum: 0)"
        assert schema["properties"]["steps"]["description"] == "(minItems: 2)"
        assert not keys_in(schema) & {
            "oneOf",
            "default",
            "maximum",
            "minimum",
            "maxLength",
            "minItems",
            "discriminator",
        }


class RequestTests(SimpleTestCase):
    def test_chat_completions_take_a_response_format(self):
        body = OpenAIProvider("openai", api_key="k").parameters(prompt_for(Plain))

        assert body["response_format"] == {"type": "json_schema", "json_schema": openai_format(output_of(Plain))}

    def test_responses_take_a_text_format(self):
        body = OpenAIResponsesProvider("openai", api_key="k").parameters(prompt_for(Plain))

        assert body["text"] == {"format": {"type": "json_schema", **openai_format(output_of(Plain))}}

    def test_servers_without_schemas_get_an_instruction(self):
        for name, sent in (("json_object", {"type": "json_object"}), ("instruction", None)):
            provider = OpenAIProvider("local", api_key="k", output_format=name)
            prompt = prompt_for(Plain, system="Be brief.")

            assert not provider.sends_output(prompt)
            assert provider.parameters(prompt).get("response_format") == sent
        system = prompt.with_instruction().system
        assert system.startswith("Be brief.\n\n")
        assert json.dumps(output_of(Plain).schema) in system

    def test_claude_takes_an_output_config_from_4_5_on(self):
        provider = AnthropicProvider("anthropic", api_key="k")
        known = (
            "claude-sonnet-4-5",
            "claude-haiku-4-5-20251001",
            "claude-opus-5.5",
            "anthropic.claude-sonnet-4-6-v1:0",
        )
        for name in known:
            body = provider.parameters(prompt_for(Plain, name))
            assert body["output_config"] == {"format": anthropic_format(output_of(Plain))}, name
        for name in ("claude-3-7-sonnet-latest", "claude-opus-4-1", "claude-sonnet-4-20250514", "other"):
            assert not provider.sends_output(prompt_for(Plain, name)), name
            assert "output_config" not in provider.parameters(prompt_for(Plain, name))
        assert not provider.sends_output(prompt_for(Scores, "claude-sonnet-4-5"))
        assert AnthropicProvider("x", api_key="k", output_format="json_schema").sends_output(prompt_for(Plain, "other"))

    def test_the_effort_stays_beside_the_format(self):
        options = ModelOptions(max_output_tokens=100, effort="low")
        prompt = prompt_for(Plain, "claude-sonnet-4-6").replace(options=options)
        config = AnthropicProvider("anthropic", api_key="k").parameters(prompt)["output_config"]

        assert sorted(config) == ["effort", "format"]

    def test_unknown_formats_are_refused(self):
        for backend in (OpenAIProvider, AnthropicProvider):
            with pytest.raises(ValueError, match="output_format"):
                backend("a", api_key="k", output_format="xml")


class ExampleTests(SimpleTestCase):
    def test_the_demo_writes_a_valid_object(self):
        for model in (Plain, Rich, Node, Scores):
            model.model_validate(example_of(output_of(model).schema))
