"""The health check of a process, for load balancers."""

import http.client

from django.test import SimpleTestCase

from streaming_chat.engine.runner import runner
from tests.faulty_postgres import FaultCase
from tests.native import error_of
from tests.provider_server import Gate, Script
from tests.servers import wait_until


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


class CannotSaveTests(FaultCase):
    def health(self) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        try:
            connection.request("GET", "/chat/health")
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def test_a_process_that_cannot_save_says_so_until_it_can(self):
        """A load balancer should send new messages elsewhere; the replies here go on, and are saved later."""
        gate = Gate()
        self.provider.script(Script(("Hel", "lo"), gates={1: gate}))
        exchange = self.browser.send("Hi").until_text("Hel")
        with self.postgres.paused():
            wait_until(lambda: self.health() == (503, b"not_saving"), 30)
        wait_until(lambda: self.health() == (200, b"ok"), 30)
        gate.open()

        assert exchange.rest().text == "Hello"
