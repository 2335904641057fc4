"""The health check of a process, for load balancers."""

from django.test import SimpleTestCase

from streaming_chat.engine.runner import runner
from tests.native import error_of


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

    def test_other_methods_are_refused(self):
        response = self.client.post("/chat/health")

        assert (response.status_code, error_of(response)["code"]) == (405, "method_not_allowed")
