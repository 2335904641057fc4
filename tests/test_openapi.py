"""openapi.json says what the API takes and answers. tests/native.py holds every answer in the suite against it."""

import json
import re
import uuid
from typing import Any, ClassVar

import jsonschema_rs
from django.http import HttpResponse, JsonResponse, QueryDict
from django.test import SimpleTestCase, override_settings
from django.urls import resolve

from docs import openapi
from streaming_chat.exceptions import APIError
from streaming_chat.views.api import event_ids, parsing
from streaming_chat.views.api.openapi import document
from streaming_chat.views.api.operations import STATUSES, handlers_of, operation_of

from .factories import make_conversation, make_reply
from .native import ROOT, Api, ApiTestCase, error_of
from .openapi import check_answer, validator
from .routes import routes
from .test_csrf_matrix import UNSAFE
from .test_docs import ROOT as REPOSITORY

CONTRACT = (REPOSITORY / "docs" / "http-api.md").read_text()
# The paths of the app that programs use.
PREFIXES = ("chat/api/", "chat/v1/", "chat/ai/")
# What a request needs to get to its query string.
BODY = {"content": "Hi", "search": "Hi", "value": 1, "messages": [{"role": "user", "content": "Hi"}]}
JSON = "application/json"
SAMPLES = [
    *(None, True, False, 0, 1, -1, 2, 50, 51, 10**9, 1.5, "", " ", "a", "low", "stop", "user", "streaming", "person"),
    *("x" * 64, "x" * 65, "x" * 256, "x" * 40_000, "a b", "é", "end", "12", "1234567890", "/1"),
    *(str(uuid.UUID(int=7)), f"{uuid.UUID(int=7)}/end", f"{uuid.UUID(int=7)}/3", f"{uuid.UUID(int=7)}/x"),
    *([], {}, {"a": 1}, [1], [{"role": "user", "content": "Hi"}], [{"role": "system", "content": "Hi"}]),
    *([{"role": "user"}], [{"role": "user", "content": ""}], [{"role": "user", "content": "Hi", "id": 1}]),
]


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    """Return the method, the path and the description of each operation."""
    return [
        (method.upper(), path, described)
        for path, methods in document()["paths"].items()
        for method, described in methods.items()
    ]


def native_operations() -> list[tuple[str, str, dict[str, Any]]]:
    """Leave out the operations of other APIs, which have the same errors in another shape."""
    return [each for each in operations() if each[1].startswith("/api/")]


def without_names(path: str) -> str:
    """Return an address with its parameters alike, as the contract and the document write them."""
    return re.sub(r"<.*?>|\{.*?\}", "{}", path)


def body_schema(described: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an operation's body, {} if it has none."""
    return described["requestBody"]["content"][JSON]["schema"] if "requestBody" in described else {}


def filled(path: str, row: Any = 0) -> str:
    return ROOT.rstrip("/") + re.sub(r"\{\w+\}", str(row), path)


class FileTests(SimpleTestCase):
    def test_the_file_in_the_package_is_up_to_date(self):
        """If this fails, run `make openapi`."""
        assert openapi.FILE.read_text() == openapi.render()

    def test_each_address_of_the_api_is_described_and_no_other(self):
        expected = {re.sub(r"<\w+:(\w+)>", r"{\1}", route) for route in routes() if route.startswith(PREFIXES)}

        assert {f"chat{path}" for path in document()["paths"]} == expected

    def test_each_address_of_the_contract_is_described(self):
        named = re.findall(r"(GET|POST|PUT|PATCH|DELETE)(?: · ([A-Z · ]+))? `((?:api|v1|ai)/[\w/<>. ]+)", CONTRACT)
        expected = {
            (method, without_names(path))
            for first, rest, path in named
            for method in [first, *re.findall(r"[A-Z]+", rest)]
        }
        described = {(method, without_names(path[1:])) for method, path, _operation in operations()}

        assert len(expected) > 25
        assert expected - described == set()

    def test_every_id_of_an_operation_is_its_own(self):
        ids = [described["operationId"] for _method, _path, described in operations()]

        assert len(ids) == len(set(ids))

    def test_every_operation_has_a_summary(self):
        assert [path for _method, path, described in operations() if not described["summary"]] == []


class ErrorTests(SimpleTestCase):
    def test_codes_and_statuses_are_those_of_the_contract(self):
        table = CONTRACT.partition("| check | status | code |")[2].partition("\n\n")[0]
        rows = [
            line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ") and "---" not in line
        ]
        expected = {code: status for row in rows for status, code in paired(*row[1:3])}

        assert expected | {"internal": 500} == STATUSES

    def test_they_are_those_that_the_code_raises(self):
        sources = (REPOSITORY / "streaming_chat").rglob("*.py")
        raised = {pair for source in sources for pair in re.findall(r'APIError\((\d{3}), "(\w+)"', source.read_text())}

        assert len(raised) > 15
        assert {(int(status), code) for status, code in raised} <= {(status, code) for code, status in STATUSES.items()}

    def test_every_code_is_of_some_operation(self):
        responses = document()["components"]["responses"]
        described = {tuple(name.split(".")) for name in responses}
        codes = {code for _status, *codes in described for code in codes}

        # No method that is described is answered with these: the second is of addresses that accept tokens only.
        assert codes == STATUSES.keys() - {"method_not_allowed", "token_required"}


def paired(status: str, codes: str) -> list[tuple[int, str]]:
    """Return the pairs of a row such as `401 · 403 | not_signed_in or invalid_token · csrf_failed`, or of one status."""
    statuses = re.findall(r"\d{3}", status)
    groups = [re.findall(r"\b(?!or\b)[a-z_]+", group) for group in re.sub(r"\(.*?\)", "", codes).split(" · ")]
    statuses = statuses * len(groups) if len(statuses) == 1 else statuses
    return [(int(number), name) for number, group in zip(statuses, groups, strict=True) for name in group]


class FieldTests(ApiTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.reply = make_reply(make_conversation(self.user))

    def path(self, path: str) -> str:
        row = self.reply.pk if "message_id" in path else self.reply.conversation_id
        return filled(path, row).removeprefix(ROOT)

    def test_each_field_that_a_body_may_have_is_described_and_no_other(self):
        """A body with an unknown field is refused with the names that the parser knows."""
        for method, path, described in native_operations():
            if method not in UNSAFE or method == "DELETE":
                continue
            with self.subTest(method=method, path=path):
                fields = error_of(self.api.ask(method, self.path(path), {"unknown": 1}))["fields"]
                schema = body_schema(described)
                known = re.fullmatch("Unknown field; the fields are: (.*).", fields.pop("unknown"))[1]

                assert known.split(", ") == (list(schema["properties"]) or ["none"])
                assert set(fields) == set(schema["required"])

    def test_a_body_may_be_missing_where_no_field_is_required(self):
        for method, path, described in native_operations():
            if "requestBody" in described:
                with self.subTest(method=method, path=path):
                    response = self.api.client.generic(method, ROOT + self.path(path))

                    assert (response.status_code == 415) == described["requestBody"]["required"], response.content

    def test_each_parameter_that_a_query_may_have_is_described_and_no_other(self):
        for method, path, described in native_operations():
            with self.subTest(method=method, path=path):
                expected = {item["name"] for item in described["parameters"] if item["in"] == "query"}

                # The list refuses this one, since servers log addresses.
                assert self.parameters_read(method, path, body_schema(described)) - {"search"} == expected

    def parameters_read(self, method: str, path: str, schema: dict[str, Any]) -> set[str]:
        """Return the names that a view looks for in the query string. schema: of its body."""
        body = {name: BODY[name] for name in schema.get("required", ())}
        # The last address may have deleted it.
        self.reply = make_reply(make_conversation(self.user))
        Recorded.names.clear()
        with self.modify_settings(MIDDLEWARE={"append": "tests.test_openapi.record_query"}):
            response = Api(self.user).client.generic(method, ROOT + self.path(path), json.dumps(body), JSON)
        if response.streaming:
            response.getvalue()
        return set(Recorded.names)

    @override_settings(STREAMING_CHAT_OUTPUTS={"person": "tests.test_outputs.Person"})
    def test_what_a_field_accepts_is_what_its_schema_says(self):
        fields = all_fields()

        assert len(fields) > 12
        for name, check in fields:
            schema = validator(check.schema)
            for sample in SAMPLES:
                with self.subTest(field=name, sample=str(sample)[:70]):
                    assert accepts(name, check, sample) == schema.is_valid(sample), check.schema


def all_fields() -> list[tuple[str, parsing.Check]]:
    """Return the fields of all bodies and queries, but for the cursor of a page, which is any string to its client."""
    handlers = {
        handler
        for _method, path, _described in native_operations()
        for handler in handlers_of(resolve(filled(path, uuid.UUID(int=7))).func).values()
    }
    described = [operation_of(handler) for handler in handlers]
    fields = [
        field for each in described for part in (each.body, each.query) if part for field in part().checks.items()
    ]
    return [(name, check) for name, check in fields if check.schema != {"type": "string"}]


def accepts(name: str, check: parsing.Check, sample: Any) -> bool:
    """Return whether a field may have this value."""
    if name == "limit" and isinstance(sample, str):
        # Of a query string, where a number is text.
        return False
    is_event = check.schema == event_ids.EVENT_ID_SCHEMA
    if is_event and not isinstance(sample, str):
        return False
    try:
        cleaned = check(sample)
        if (is_event or name == "position") and cleaned is not None:
            event_ids.position_of(cleaned, uuid.UUID(int=7))
    except (ValueError, APIError):
        return False
    return True


class Recorded(QueryDict):
    """A query string that notes what is looked for in it."""

    names: ClassVar[set[str]] = set()

    def __contains__(self, name: object) -> bool:
        self.names.add(name)
        return super().__contains__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return super().get(name, default)


def record_query(get_response: Any) -> Any:
    """Middleware: let each request have such a query string."""

    def answer(request: Any) -> Any:
        request.GET = Recorded("")
        return get_response(request)

    return answer


class CheckedAnswerTests(ApiTestCase):
    """The helper that holds every answer in the suite against the document finds what is wrong."""

    def check(self, response: Any) -> None:
        check_answer("GET", "api/models", response)

    def test_an_answer_that_is_described(self):
        self.check(self.api.get("api/models"))

    def test_another_status_type_property_or_value(self):
        for response in (
            JsonResponse({"results": []}, status=418),
            HttpResponse("", content_type="text/plain"),
            JsonResponse({"results": [], "more": 1}),
            JsonResponse({"results": None}),
            JsonResponse({"error": {"code": "not_found", "message": "", "retryable": False}}, status=403),
        ):
            with self.subTest(response.content), self.assertRaises((AssertionError, jsonschema_rs.ValidationError)):
                self.check(response)


class ServedTests(ApiTestCase):
    def test_the_site_serves_the_document_with_its_own_limits(self):
        with override_settings(STREAMING_CHAT_MAX_MESSAGE_CHARS=5):
            served = self.api.get("api/openapi.json").json()
        fields = served["paths"]["/api/messages"]["post"]["requestBody"]["content"]["application/json"]["schema"]

        assert fields["properties"]["content"]["maxLength"] == 5
        assert served["servers"] == [{"url": "/chat"}]
