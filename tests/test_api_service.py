"""`api/models` and `health`."""

from django.test import SimpleTestCase, override_settings

from streaming_chat.runner import runner

from .native import ApiTestCase, error_of


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


class HealthTests(SimpleTestCase):
    """A SimpleTestCase: a query would fail."""

    def test_ok(self):
        response = self.client.get("/chat/health")

        assert (response.status_code, response.content) == (200, b"ok")
        assert response.headers["Cache-Control"] == "no-store"

    def test_draining(self):
        runner.is_draining = True
        self.addCleanup(setattr, runner, "is_draining", False)
        response = self.client.get("/chat/health")

        assert (response.status_code, response.content) == (503, b"draining")

    def test_it_is_only_read(self):
        response = self.client.post("/chat/health")

        assert (response.status_code, error_of(response)["code"]) == (405, "method_not_allowed")
