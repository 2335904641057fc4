"""What a line asks, and the result that it gets."""

import json

from django.test import SimpleTestCase, override_settings

from streaming_chat.batches.lines import answered, id_of, read_line, refused
from streaming_chat.providers.asking import Answer
from streaming_chat.providers.base import Turn, Usage
from streaming_chat.testing import scripted_provider

ANSWER = Answer("Hello", "length_cap", Usage(input_tokens=7, output_tokens=4), "req_1")


class LineTestCase(SimpleTestCase):
    def setUp(self):
        self.enterContext(scripted_provider())

    def read(self, **entry):
        return read_line(json.dumps(entry), "scripted:model")


class PlainLineTests(LineTestCase):
    def test_a_prompt(self):
        line = self.read(id=7, prompt="Hi", system="You rhyme.", model="scripted:other")

        assert (line.id, line.model, line.prompt.model) == ("7", "scripted:other", "other")
        assert (line.prompt.system, line.prompt.turns) == ("You rhyme.", (Turn("user", "Hi"),))

    def test_messages_with_a_system_prompt_among_them(self):
        turns = [("system", "You rhyme."), ("user", "Hi"), ("assistant", "Hello"), ("user", "A"), ("user", "B")]
        line = self.read(id="a", messages=[{"role": role, "content": text} for role, text in turns])

        assert line.prompt.system == "You rhyme."
        assert [(turn.role, turn.text) for turn in line.prompt.turns] == [*turns[1:3], ("user", "A\n\nB")]

    def test_a_model_without_an_alias_is_the_default_providers(self):
        assert self.read(id="a", prompt="Hi", model="gpt:x").model == "scripted:gpt:x"
        assert self.read(id="a", prompt="Hi").model == "scripted:model"

    @override_settings(STREAMING_CHAT_MODEL_OPTIONS={"scripted:model": {"max_output_tokens": 99}})
    def test_the_options_of_the_model_apply(self):
        assert self.read(id="a", prompt="Hi").prompt.options.max_output_tokens == 99

    def test_what_cannot_be_asked_is_named_without_its_text(self):
        for wrong, entry in {
            "no id": {"prompt": "secret"},
            "either": {"id": "a"},
            "unknown key 'effrt'": {"id": "a", "prompt": "secret", "effrt": "low"},
            "last message": {"id": "a", "messages": [{"role": "assistant", "content": "secret"}]},
            "role": {"id": "a", "messages": [{"role": "tool", "content": "secret"}]},
            "parts of type text": {"id": "a", "messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "with a text": {"id": "a", "prompt": " "},
        }.items():
            with self.subTest(wrong=wrong), self.assertRaisesMessage(ValueError, wrong) as raised:
                self.read(**entry)
            assert "secret" not in str(raised.exception)
        for text in ("{", "[]", "7"):
            with self.assertRaises(ValueError):
                read_line(text, "scripted:model")

    def test_its_results(self):
        line = self.read(id="a", prompt="Hi")
        usage = Usage(input_tokens=7, output_tokens=4)._asdict()

        assert answered(line, ANSWER, None) == {
            "id": "a", "model": "scripted:model", "text": "Hello", "end_reason": "length_cap", "usage": usage, "cost": None,
        }  # fmt: skip
        assert refused(line, "context_too_long")["error"]["code"] == "context_too_long"
        assert "secret" not in repr(self.read(id="a", prompt="secret"))


class OpenAILineTests(LineTestCase):
    def ask(self, **body):
        messages = [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]
        return self.read(custom_id="a", method="POST", url="/v1/chat/completions", body={"messages": messages, **body})

    def test_its_body_is_taken(self):
        line = self.ask(model="gpt-x", max_tokens=9, temperature=0.2, stream=False)

        assert (line.id, line.model, line.prompt.turns) == ("a", "scripted:gpt-x", (Turn("user", "Hi"),))
        assert (line.prompt.options.max_output_tokens, line.prompt.options.parameters) == (9, {"temperature": 0.2})

    def test_what_would_be_left_out_is_refused(self):
        for body in ({"tools": []}, {"stream": True}, {"n": 2}, {"max_tokens": 0}):
            with self.subTest(body=body), self.assertRaises(ValueError):
                self.ask(**body)
        with self.assertRaises(ValueError):
            self.read(custom_id="a", url="/v1/embeddings", body={"input": "Hi"})

    def test_its_results_have_openais_format(self):
        line = self.ask(model="gpt-x")
        result = answered(line, ANSWER, None)
        completion = result["response"]["body"]

        assert (result["custom_id"], result["error"], result["response"]["status_code"]) == ("a", None, 200)
        assert completion["choices"][0]["message"] == {"role": "assistant", "content": "Hello"}
        assert completion["choices"][0]["finish_reason"] == "length"
        assert completion["usage"] == {"prompt_tokens": 7, "completion_tokens": 4, "total_tokens": 11}
        assert id_of(result) == id_of(refused(line, "empty")) == "a"
