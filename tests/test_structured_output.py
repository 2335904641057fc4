"""Objects instead of text, through every API: the request, the growing object, the ending, the row and the message."""

import json
from contextlib import aclosing
from typing import Annotated

import pytest
from asgiref.sync import sync_to_async
from django.db import transaction
from django.test import TestCase, override_settings
from pydantic import AfterValidator, BaseModel, create_model

from chatproject.schemas import Recipe
from streaming_chat.engine.runner import runner
from streaming_chat.models import Message
from streaming_chat.shortcuts import agrowing_output, growing_output, send_message
from streaming_chat.testing import read_stream
from tests.factories import make_user
from tests.native import Api
from tests.protocol.test_json_objects import is_prefix
from tests.provider_server import Gate, Script
from tests.servers import Exchange, ServerTestCase, held, wait_until

RECIPE = {
    "title": "Käsekuchen 🥞",
    "minutes": 85,
    "ingredients": [{"name": "quark", "grams": 500}, {"name": "sugar", "grams": 120}],
    "steps": ["Mix everything.", "Bake it for an hour."],
}
TEXT = json.dumps(RECIPE, ensure_ascii=False)
PIECES = [TEXT[start : start + 7] for start in range(0, len(TEXT), 7)]
# A model of each API that can be held to a schema.
MODELS = ("openai:gpt-x", "responses:any", "anthropic:claude-sonnet-4-6")
REFUSALS = {
    "openai:gpt-x": Script(
        raw=b'data: {"choices":[{"index":0,"delta":{"refusal":"I cannot help with that."}}]}\n\n'
        b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    ),
    "responses:any": Script(
        raw=b'data: {"type":"response.refusal.delta","output_index":0,"delta":"I cannot help with that."}\n\n'
        b'data: {"type":"response.completed","response":{"status":"completed"}}\n\n'
    ),
    "anthropic:claude-sonnet-4-6": Script(["I cannot help with that."], finish="refusal"),
}
TRUNCATED = {"openai": "length", "responses": "max_output_tokens", "anthropic": "max_tokens"}
OUTPUTS = {"recipe": "chatproject.schemas.Recipe"}


def refuse(value: str) -> str:
    raise ZeroDivisionError(value)


class Careless(BaseModel):
    title: Annotated[str, AfterValidator(refuse)]


@pytest.mark.any_database
@override_settings(STREAMING_CHAT_OUTPUTS=OUTPUTS)
class StructuredOutputTests(ServerTestCase):
    def ask(self, model: str, script: Script, **body: object) -> tuple[Message, Exchange]:
        """Ask for a recipe; return its row and the stream in the json format."""
        self.provider.script(script)
        sent = {"content": "A cake", "model": model, "output": "recipe", **body}
        exchange = self.browser.request("POST", "api/messages?format=json", sent).rest()
        return Message.objects.get(pk=exchange.message_id), exchange

    def read(self, reply: Message) -> dict:
        return self.browser.request("GET", f"api/messages/{reply.pk}").json()

    def test_every_api_is_told_the_schema_in_its_own_words(self):
        for model in MODELS:
            self.ask(model, Script(PIECES))
        chat, responses, messages = (call.body for call in self.provider.calls)

        assert chat["response_format"]["json_schema"]["name"] == "recipe"
        assert chat["response_format"]["json_schema"]["strict"] is True
        assert responses["text"]["format"] == {"type": "json_schema", **chat["response_format"]["json_schema"]}
        assert messages["output_config"]["format"]["type"] == "json_schema"
        assert "system" not in messages

    def test_a_model_without_schemas_is_told_in_words(self):
        reply, _exchange = self.ask("anthropic:claude-3-haiku", Script(["```json\n", *PIECES, "\n```"]))

        assert "JSON schema" in self.provider.calls[0].body["system"]
        assert reply.output == RECIPE

    def test_the_object_grows_to_the_one_that_everybody_reads(self):
        for model in MODELS:
            with self.subTest(model):
                reply, exchange = self.ask(model, Script(PIECES))
                objects = [frame.data["output"] for frame in exchange.frames[:-1] if frame.event == "message"]
                again = self.browser.request("GET", f"api/messages/{reply.pk}/events").rest()

                assert all(is_prefix(one, RECIPE) for one in objects)
                assert exchange.endings[0].data["output"] == again.endings[0].data["output"] == RECIPE
                assert exchange.endings[0].data["output_error"] is None
                assert again.text == reply.text == TEXT
                assert (reply.output_name, reply.output, reply.output_error) == ("recipe", RECIPE, "")
                read = self.read(reply)
                assert (read["output_name"], read["output"], read["output_error"]) == ("recipe", RECIPE, None)

    def test_a_client_sees_it_before_it_is_complete(self):
        gate = Gate()
        half = len(PIECES) // 2
        self.provider.script(Script(PIECES, gates={half: gate}))
        body = {"content": "A cake", "model": MODELS[0], "output": "recipe"}
        with held(gate):
            exchange = self.browser.request("POST", "api/messages?format=json", body)
            exchange.until(lambda: any("ingredients" in frame.data.get("output", ()) for frame in exchange.frames))
        exchange.rest()

        assert exchange.endings[0].data["output"] == RECIPE

    def test_what_is_no_valid_object_is_an_error_and_the_text(self):
        wrong = json.dumps({**RECIPE, "minutes": 0})
        for model in MODELS:
            alias = model.partition(":")[0]
            cases = {
                "output_not_json": (Script(["Sure! ", TEXT]), "Sure! " + TEXT),
                "output_invalid": (Script([wrong]), wrong),
                "output_truncated": (Script([TEXT[:60]], finish=TRUNCATED[alias]), TEXT[:60]),
                "output_refused": (REFUSALS[model], "I cannot help with that."),
            }
            for code, (script, text) in cases.items():
                with self.subTest(f"{model} {code}"):
                    reply, exchange = self.ask(model, script)
                    [ending] = exchange.endings
                    again = self.browser.request("GET", f"api/messages/{reply.pk}/events").rest().endings[0].data

                    assert (reply.status, reply.output_error, reply.output) == ("completed", code, None)
                    assert (ending.event, ending.data["output"], ending.data["text"]) == ("done", None, text)
                    assert ending.data["output_error"]["code"] == again["output_error"]["code"] == code
                    assert self.read(reply)["output_error"] == ending.data["output_error"]
                    assert self.read(reply)["text"] == text
                    assert not any((reply.can_continue, ending.data["can_continue"], again["can_continue"]))

    def test_a_reply_that_is_not_completed_has_neither(self):
        reply, exchange = self.ask(MODELS[0], Script(PIECES, fault="cut", after=9))
        [ending] = exchange.endings

        assert (ending.event, reply.output, reply.output_error) == ("interrupted", None, "")
        assert "output" not in ending.data
        assert "output_error" not in ending.data
        assert ending.data["text"] == "".join(PIECES[:9])

    def test_another_version_is_an_object_too(self):
        first, _exchange = self.ask(MODELS[0], Script(["Sorry"]))
        self.provider.script(Script(PIECES))
        again = self.browser.request("POST", f"api/messages/{first.pk}/regenerate").rest()

        assert Message.objects.get(pk=again.message_id).output == RECIPE

    def test_a_client_names_what_the_site_offers_and_nothing_else(self):
        for output in ("other", "", None, {"type": "object"}, "chatproject.schemas.Recipe"):
            answer = self.browser.request("POST", "api/messages", {"content": "A cake", "output": output})

            assert answer.status == 422, output
            assert list(answer.json()["error"]["fields"]) == ["output"]
        assert not Message.objects.exists()


@pytest.mark.any_database
class FromPythonTests(ServerTestCase):
    def send(self, script: Script, **options: object) -> Message:
        self.provider.script(script)
        return send_message(self.browser.user, "A cake", **{"output": Recipe, "model": MODELS[0], **options})

    def test_it_returns_the_validated_object(self):
        for model in MODELS:
            reply = self.send(Script(PIECES), model=model, wait=True)

            assert reply.parsed == Recipe.model_validate(RECIPE)
            assert reply.output == RECIPE
            assert reply.output_name == "Recipe"

    def test_without_a_valid_object_there_is_the_reply(self):
        reply = self.send(Script(["No"]), wait=True)

        assert (reply.parsed, reply.output_error, reply.text) == (None, "output_not_json", "No")

    def test_it_can_be_followed_as_it_grows(self):
        for model in MODELS:
            gate = Gate()
            with held(gate):
                reply = self.send(Script(PIECES, gates={len(PIECES) // 2: gate}), model=model)
                growing = growing_output(reply)
                seen = [next(growing)]
                while "ingredients" not in seen[-1]:
                    seen.append(next(growing))
            seen += growing

            assert all(is_prefix(one, RECIPE) for one in seen)
            assert seen[-1] == RECIPE
            # A slow reader is told of the newest only.
            assert len(seen) >= 2
            assert self.ended(reply.pk).output == RECIPE
            assert list(growing_output(reply)) == [RECIPE]

    async def test_it_can_be_followed_in_an_event_loop(self):
        gate = Gate()
        seen = []
        with held(gate):
            reply = await sync_to_async(self.send)(Script(PIECES, gates={len(PIECES) // 2: gate}))
            async for recipe in agrowing_output(reply):
                seen.append(recipe)
                if "ingredients" in recipe:
                    gate.open()

        assert all(is_prefix(one, RECIPE) for one in seen)
        assert seen[-1] == RECIPE
        assert len(seen) >= 2
        assert [recipe async for recipe in agrowing_output(reply)] == [RECIPE]

    async def test_a_loop_need_not_follow_it_to_its_end(self):
        gate = Gate()
        with held(gate):
            reply = await sync_to_async(self.send)(Script(PIECES, gates={len(PIECES) // 2: gate}))
            async with aclosing(agrowing_output(reply)) as growing:
                assert is_prefix(await anext(growing), RECIPE)
            stream = runner.find(reply.pk).stream
            await sync_to_async(wait_until)(lambda: not stream.readers)
        ended = await sync_to_async(self.ended)(reply.pk)

        assert ended.output == RECIPE

    def test_a_name_of_the_settings_is_used(self):
        with override_settings(STREAMING_CHAT_OUTPUTS=OUTPUTS):
            assert self.send(Script(PIECES), wait=True).output_name == "recipe"

    def test_another_version_needs_such_a_name(self):
        reply = self.send(Script(PIECES), wait=True)
        answer = self.browser.request("POST", f"api/messages/{reply.pk}/regenerate")

        assert answer.status == 422
        assert "STREAMING_CHAT_OUTPUTS" in answer.json()["error"]["fields"]["id"]

    def test_the_same_client_id_with_another_output_is_refused(self):
        self.send(Script(PIECES), wait=True, client_id="one")
        same = self.send(Script(PIECES), wait=True, client_id="one")
        other = create_model("Other", title=(str, ...))

        assert same.parsed == Recipe.model_validate(RECIPE)
        assert len(self.provider.calls) == 1
        with pytest.raises(Exception, match="idempotency_mismatch"):
            self.send(Script(PIECES), client_id="one", output=other)

    def test_a_validator_that_breaks_harms_one_reply_only(self):
        with self.assertLogs("streaming_chat", "ERROR") as logs:
            reply = self.send(Script(['{"title": "secret"}']), wait=True, output=Careless)

        assert (reply.status, reply.output_error, reply.parsed) == ("completed", "internal", None)
        assert "secret" not in "".join(logs.output)

    def test_what_is_no_model_of_an_object_is_refused_before_anything_is_sent(self):
        for output in (dict, list[int], "recipe", int):
            with pytest.raises(TypeError):
                self.send(Script(PIECES), output=output)
        assert not Message.objects.exists()

    def test_in_a_transaction_it_is_there_after_the_commit(self):
        with transaction.atomic():
            reply = self.send(Script(PIECES))

        assert self.ended(reply.pk).output == RECIPE


DEMO = {"demo": {"BACKEND": "streaming_chat.providers.demo.DemoProvider", "OPTIONS": {"words_per_second": 0}}}


@override_settings(STREAMING_CHAT_PROVIDERS=DEMO, STREAMING_CHAT_MODELS=["demo:demo"], STREAMING_CHAT_OUTPUTS=OUTPUTS)
class DemoTests(TestCase):
    def test_the_demo_has_a_recipe_for_the_example_site(self):
        api = Api(make_user())
        streamed = read_stream(api.post("api/messages?format=json", {"content": "A cake", "output": "recipe"}))
        objects = [frame.data["output"] for frame in streamed.frames[:-1] if not frame.event]

        assert Recipe.model_validate(streamed.end["output"])
        assert objects[-1] == streamed.end["output"]
        assert all(is_prefix(one, objects[-1]) for one in objects)
