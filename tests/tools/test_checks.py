"""What `manage.py check` says of tools."""

import sys

import pytest
from django.test import SimpleTestCase, override_settings

from streaming_chat.checks import check_tools
from streaming_chat.providers.base import Provider

from . import toolboxes

pytestmark = pytest.mark.once

SHOP = {"shop": f"{toolboxes.__name__}.shop"}
BOTH = {**SHOP, "other": f"{toolboxes.__name__}.other_shop"}


class TextOnlyProvider(Provider):
    """A provider of the site, which sends no tools."""

    def stream(self, prompt):
        raise NotImplementedError


class CheckTests(SimpleTestCase):
    def found(self, tools, models=None, **changed):
        """Return the ids and the messages of what is found."""
        options = {name: {"tools": used} for name, used in (models or {}).items()}
        with override_settings(STREAMING_CHAT_TOOLS=tools, STREAMING_CHAT_MODEL_OPTIONS=options, **changed):
            messages = check_tools()
        assert all(message.hint for message in messages)

        return [(message.id.removeprefix("streaming_chat."), message.msg) for message in messages]

    def test_nothing(self):
        assert self.found({}) == []
        assert self.found(SHOP, {"demo:*": ["shop"]}) == []

    def test_what_is_no_toolbox(self):
        for value, problem in (
            ([], "STREAMING_CHAT_TOOLS must be a dict, got list."),
            ({"shop": 1}, "its name and its dotted path must be strings, got 'shop' and 1."),
            ({"shop": "shop"}, "expected a dotted path, got 'shop'."),
            ({"shop": ""}, "expected a dotted path, got ''."),
            ({"shop": "no.such.module"}, "No module named 'no'"),
            ({"shop": f"{toolboxes.__name__}.nothing"}, 'does not define a "nothing" attribute'),
            ({"shop": f"{toolboxes.__name__}.not_a_toolbox"}, "expected a streaming_chat.tools.Toolbox, got object"),
            (
                {"shop": "tests.tools.broken.tools"},
                "The parameter words of the tool find needs a type, such as words: str.",
            ),
        ):
            with self.subTest(value):
                [(code, message)] = self.found(value, {"demo:*": [*value] if isinstance(value, dict) else []})

                assert code == "E015"
                assert problem in message

    def test_what_a_module_raises_is_not_shown(self):
        """Its text may have a secret."""
        for module, error in (("failing", "RuntimeError"), ("misspelt", "AttributeError")):
            with self.subTest(module):
                sys.modules.pop(f"tests.tools.{module}", None)
                [(code, message)] = self.found({"shop": f"tests.tools.{module}.tools"})

                assert code == "E015"
                assert message == f"STREAMING_CHAT_TOOLS['shop'] cannot be used: tests.tools.{module} raised {error}."

    def test_a_model_with_a_toolbox_that_does_not_exist(self):
        [(code, message)] = self.found(SHOP, {"demo:a": ["shp"]})

        assert code == "E016"
        assert (
            message == "STREAMING_CHAT_MODEL_OPTIONS['demo:a']: 'shp' is not in STREAMING_CHAT_TOOLS, which has 'shop'."
        )

    def test_a_model_with_two_tools_of_one_name(self):
        models = {"demo:a": ["shop", "other"], "demo:b": ["shop"], "demo:c": ["other"]}
        messages = [message for code, message in self.found(BOTH, models) if code == "E016"]

        assert messages == ["STREAMING_CHAT_MODEL_OPTIONS['demo:a']: 'shop' and 'other' both have a tool named refund."]

    def test_a_permission_that_does_not_exist(self):
        [(code, message)] = self.found(BOTH)

        assert code == "W014"
        assert "'other'] asks for the permission 'shop.refund', which no model has" in message

    def test_a_tool_that_visitors_can_reach(self):
        [(code, message)] = self.found(
            SHOP, {"demo:a": ["shop"], "demo:b": ["shop"]}, STREAMING_CHAT_ALLOW_ANONYMOUS=True
        )

        assert code == "W015"
        assert message.startswith("STREAMING_CHAT_TOOLS['shop']: the tool refund can change something")
        assert self.found(SHOP, {"demo:a": []}, STREAMING_CHAT_ALLOW_ANONYMOUS=True) == []

    def test_a_schema_that_contains_itself(self):
        [(code, message)] = self.found({"tree": f"{toolboxes.__name__}.tree"})

        assert code == "W016"
        assert "an argument of the tool draw contains itself" in message

    def test_a_tool_without_a_description(self):
        [(code, message)] = self.found({"silent": f"{toolboxes.__name__}.silent"})

        assert code == "W017"
        assert "the tool guess has no description" in message

    def test_a_model_whose_provider_cannot_be_given_tools(self):
        """They would be left out of every request, and nothing would say so."""
        providers = {
            "own": {"BACKEND": f"{__name__}.TextOnlyProvider"},
            "broken": {"BACKEND": f"{__name__}.TextOnlyProvider", "OPTIONS": {"no_such_option": 1}},
            "demo": {"BACKEND": "streaming_chat.providers.demo.DemoProvider"},
        }
        models = {"own:a": ["shop"], "own:*": ["shop"], "own:b": [], "demo:*": ["shop"]}
        # Other checks report these.
        models |= {"broken:a": ["shop"], "unknown:a": ["shop"], 1: ["shop"]}
        found = self.found(SHOP, models, STREAMING_CHAT_PROVIDERS=providers)

        assert [code for code, _message in found] == ["W018", "W018"]
        assert found[0][1].startswith(
            "STREAMING_CHAT_MODEL_OPTIONS['own:a'] has tools, but its provider cannot be given any"
        )
        assert found[1][1].startswith("STREAMING_CHAT_MODEL_OPTIONS['own:*']")

    def test_options_of_another_form_are_reported_elsewhere(self):
        with override_settings(STREAMING_CHAT_TOOLS={}, STREAMING_CHAT_MODEL_OPTIONS={"a": 1, "b": {"tools": "shop"}}):
            assert check_tools() == []
        with override_settings(STREAMING_CHAT_TOOLS={}, STREAMING_CHAT_MODEL_OPTIONS=1):
            assert check_tools() == []
