"""How models of the messages API are told how much to think."""

from django.test import SimpleTestCase

from streaming_chat.providers.anthropic_thinking import thinking_parameters
from streaming_chat.providers.base import Prompt, Tools, Turn
from streaming_chat.providers.model_options import EFFORTS, ModelOptions

ADAPTIVE = {"type": "adaptive"}
SHOWN = {"type": "adaptive", "display": "summarized"}
OFF = {"thinking": {"type": "disabled"}}


def asked(model, *, turns=(), tools=None, **options):
    return thinking_parameters(Prompt(model=model, turns=turns, tools=tools, options=ModelOptions(**options)))


def budget(tokens):
    return {"thinking": {"type": "enabled", "budget_tokens": tokens}}


class ThinkingTests(SimpleTestCase):
    def test_nothing_is_sent_unless_the_site_asks_for_it(self):
        for model in ("claude-opus-5-5", "claude-sonnet-4-5", "glm-4.6", ""):
            with self.subTest(model):
                assert asked(model) == {}

    def test_each_effort_of_a_current_model(self):
        """It always thinks, so none is as little as possible."""
        sent = [asked("claude-opus-5-5", effort=effort).get("output_config") for effort in EFFORTS]

        assert sent == [{"effort": effort} for effort in ("low", "low", "low", "medium", "high", "xhigh", "max")]

    def test_thinking_is_asked_for_with_the_effort(self):
        """Without that, the models up to 4.8 do not think."""
        for model in (
            "claude-opus-4-6",
            "anthropic.claude-sonnet-4-6-v1",
            "anthropic/claude-opus-4.8",
            "claude-fable-5-1",
        ):
            with self.subTest(model):
                assert asked(model, effort="high") == {"thinking": ADAPTIVE, "output_config": {"effort": "high"}}

    def test_an_effort_that_a_model_does_not_know(self):
        assert asked("claude-opus-4-6", effort="xhigh")["output_config"] == {"effort": "high"}
        assert asked("claude-opus-4-7", effort="xhigh")["output_config"] == {"effort": "xhigh"}

    def test_no_thinking(self):
        for model, sent in (
            ("claude-opus-4-8", {}),
            ("claude-opus-5", OFF),
            ("claude-sonnet-5", OFF),
            ("claude-haiku-5-5", OFF),
            ("claude-sonnet-5-5", {"thinking": {"type": "between_tools"}}),
            ("claude-fable-5-2", {"output_config": {"effort": "low"}}),
            ("claude-mythos-preview", {"output_config": {"effort": "low"}}),
            ("claude-opus-9", {"output_config": {"effort": "low"}}),
        ):
            with self.subTest(model):
                assert asked(model, effort="none") == asked(model, effort="none", show_reasoning=True) == sent

    def test_thinking_is_shown(self):
        assert asked("claude-opus-5", show_reasoning=True) == {"thinking": SHOWN}
        assert asked("claude-opus-5", show_reasoning=True, effort="max") == {
            "thinking": SHOWN,
            "output_config": {"effort": "max"},
        }


class BudgetTests(SimpleTestCase):
    """Of the models up to 4.5, and of those that are no Claudes."""

    def test_it_is_a_share_of_the_reply(self):
        for model in ("claude-haiku-4-5-20251001", "claude-sonnet-4-20250514", "claude-3-7-sonnet-latest", "glm-4.6"):
            sent = [asked(model, effort=effort, max_output_tokens=16_000) for effort in EFFORTS]
            with self.subTest(model):
                assert sent == [OFF, *map(budget, (1_024, 2_000, 4_000, 8_000, 12_000, 12_000))]

    def test_thinking_is_shown(self):
        assert asked("claude-haiku-4-5", show_reasoning=True, max_output_tokens=16_000) == budget(4_000)

    def test_there_must_be_room_for_an_answer(self):
        assert asked("claude-haiku-4-5", effort="low", max_output_tokens=1_024) == {}
        assert asked("claude-haiku-4-5", effort="low", max_output_tokens=1_025) == budget(1_024)

    def test_a_turn_that_is_continued_has_none(self):
        turns = (Turn("user", "a"), Turn("assistant", "b"))

        assert asked("claude-haiku-4-5", effort="low", turns=turns) == {}

    def test_a_call_that_must_come_is_without_a_budget(self):
        """The API refuses both together; thinking that adapts itself it allows."""
        for tools in (Tools(({"name": "time"},), "required"), Tools(({"name": "time"},), function="time")):
            assert asked("claude-haiku-4-5", effort="low", tools=tools) == {}
            assert asked("claude-opus-5-5", effort="low", tools=tools)["thinking"] == ADAPTIVE
        assert asked("claude-haiku-4-5", effort="low", tools=Tools(({"name": "time"},), "auto")) == budget(2_048)

    def test_after_the_results_of_tools_there_is_no_budget(self):
        """With one, the API wants the thinking before the call."""
        result = Turn("user", [{"kind": "tool_result", "id": "1", "text": "12:00"}])

        assert asked("claude-haiku-4-5", effort="low", turns=(result,)) == {}
        assert asked("claude-opus-5-5", effort="low", turns=(result,))["thinking"] == ADAPTIVE
        assert asked("claude-haiku-4-5", effort="low", turns=(result, Turn("assistant", "Noon."), Turn("user", "Hi")))
