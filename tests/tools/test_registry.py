"""Which tools a model has."""

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import ImproperlyConfigured
from django.test import SimpleTestCase, override_settings

from streaming_chat.providers.model_options import options_of
from streaming_chat.tools import ToolContext, tools_for, tools_of_model

from . import toolboxes

pytestmark = pytest.mark.once

TOOLS = {"shop": f"{toolboxes.__name__}.shop", "other": f"{toolboxes.__name__}.other_shop"}


def found(model):
    return async_to_sync(tools_for)(model, ToolContext())


@override_settings(
    STREAMING_CHAT_TOOLS=TOOLS,
    STREAMING_CHAT_MODEL_OPTIONS={
        "demo:both": {"tools": ["other", "shop"]},
        "demo:none": {},
        "demo:*": {"tools": ["shop"]},
        "demo:typo": {"tools": ["shp"]},
        "demo:text": {"tools": "shop"},
        "demo:twice": {"tools": ["shop", "shop"]},
    },
)
class ToolsForTests(SimpleTestCase):
    def test_by_name(self):
        assert found("demo:any") == toolboxes.shop.declared
        assert found("demo:none") == {}
        assert found("own:model") == {}

    def test_by_toolbox(self):
        assert [*tools_of_model(options_of("demo:both"))] == ["other", "shop"]

    def test_the_first_of_one_name(self):
        """A server of tools must not be able to replace one of the site's."""
        with self.assertLogs("streaming_chat", "WARNING") as logs:
            tools = found("demo:both")

        assert tools["refund"].description == "Refund an order of the other shop."
        assert [*tools] == ["refund", "find_orders"]
        assert "demo:both has two tools named refund: that of shop is left out." in logs.output[0]

    def test_names_that_do_not_exist(self):
        with self.assertRaises(KeyError):
            found("demo:typo")

    def test_wrong_options(self):
        for model in ("demo:text", "demo:twice"):
            with self.assertRaisesMessage(ImproperlyConfigured, "tools must be a list of strings, each once"):
                found(model)
