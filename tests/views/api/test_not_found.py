"""Unknown addresses below `api/`."""

from tests.native import ApiTestCase, error_of


class UnknownTests(ApiTestCase):
    def test_every_method_is_answered_in_json(self):
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            with self.subTest(method=method):
                response = self.api.ask(method, "api/nothing/here", {})

                assert (response.status_code, error_of(response)["code"]) == (404, "not_found")

    def test_whatever_the_path_is(self):
        for path in ("api", "api/", "api//", "api/a%0Ab", "api/%00", "api/messages/", "api/conversations/1"):
            with self.subTest(path):
                response = self.api.get(path)

                assert (response.status_code, error_of(response)["code"]) == (404, "not_found")
