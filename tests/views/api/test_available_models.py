"""The models on offer."""

from django.test import override_settings

from tests.native import ApiTestCase


class ModelsTests(ApiTestCase):
    @override_settings(STREAMING_CHAT_MODELS=["scripted:*", "scripted:one", "scripted:two"])
    def test_what_may_be_asked_for(self):
        assert self.api.get("api/models").json() == {
            "results": [
                {"id": "scripted:*", "default": False},
                {"id": "scripted:one", "default": True},
                {"id": "scripted:two", "default": False},
            ]
        }
