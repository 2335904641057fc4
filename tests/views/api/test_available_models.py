"""The models on offer."""

from django.test import override_settings
from django.utils.translation import gettext_lazy

from tests.native import ApiTestCase


class ModelsTests(ApiTestCase):
    @override_settings(STREAMING_CHAT_MODELS=["scripted:*", "scripted:one", "scripted:two"])
    def test_what_may_be_asked_for(self):
        found = self.api.get("api/models").json()["results"]

        assert [(model["id"], model["default"]) for model in found] == [
            ("scripted:*", False),
            ("scripted:one", True),
            ("scripted:two", False),
        ]

    @override_settings(STREAMING_CHAT_MODELS=["scripted:one", "scripted:two"])
    def test_how_they_are_shown(self):
        luna = {
            "label": gettext_lazy("Luna"),
            "description": "For everyday questions.",
            "effort": "low",
            "efforts": ["low", "high"],
            "parameters": {"user": "secret"},
        }
        with override_settings(STREAMING_CHAT_MODEL_OPTIONS={"scripted:one": luna}):
            response = self.api.get("api/models")
        shown, plain = response.json()["results"]

        assert shown == {
            "id": "scripted:one",
            "label": "Luna",
            "description": "For everyday questions.",
            "effort": "low",
            "efforts": ["low", "high"],
            "default": True,
        }
        assert plain == {
            "id": "scripted:two",
            "label": "scripted:two",
            "description": "",
            "effort": None,
            "efforts": [],
            "default": False,
        }
