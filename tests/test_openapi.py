"""openapi.json says what the API takes and answers. tests/native.py holds every answer in the suite against it."""

import json
import re
import uuid
from typing import Any, ClassVar
from unittest import mock

import jsonschema_rs
from django.db import InterfaceError
from django.http import HttpResponse, JsonResponse, QueryDict
from django.test import SimpleTestCase, override_settings
from django.urls import resolve

from docs import openapi
from streaming_chat.accounts.permissions import Permissions
from streaming_chat.chats.deletion import delete_for_owner
from streaming_chat.exceptions import APIError
from streaming_chat.models import Conversation
from streaming_chat.testing import Gate, Script
from streaming_chat.views.api import event_ids, parsing, replies
from streaming_chat.views.api.openapi import document
from streaming_chat.views.api.operations import STATUSES, handlers_of, operation_of

from .factories import make_conversation, make_live, make_reply, make_token
from .native import ROOT, Api, ApiTestCase, error_of
from .openapi import check_answer, validator
from .routes import routes
from .test_csrf_matrix import UNSAFE
from .test_docs import ROOT as REPOSITORY

CONTRACT = (REPOSITORY / "docs" / "http-api.md").read_text()
# The paths of the app that programs use.
PREFIXES = ("chat/api/", "chat/v1/", "chat/ai/")
# What a request needs to get to its query string.
BODY = {
    "content": "Hi",
    "search": "Hi",
    "value": 1,
    "messages": [{"role": "user", "content": "Hi"}],
    "answers": [{"call": "call_0", "approved": True}],
}
JSON = "application/json"
SAMPLES = [
    *(None, True, False, 0, 1, -1, 2, 50, 51, 10**9, 1.5, "", " ", "a", "low", "stop", "user", "streaming", "person"),
    *("x" * 64, "x" * 65, "x" * 256, "x" * 40_000, "a b", "é", "end", "12", "1234567890", "/1"),
    *(str(uuid.UUID(int=7)), f"{uuid.UUID(int=7)}/end", f"{uuid.UUID(int=7)}/3", f"{uuid.UUID(int=7)}/x"),
    *([], {}, {"a": 1}, [1], [{"role": "user", "content": "Hi"}], [{"role": "system", "content": "Hi"}]),
    *([{"role": "user"}], [{"role": "user", "content": ""}], [{"role": "user", "content": "Hi", "id": 1}]),
    *(
        [{"call": "a"}],
        [{"call": "a", "approved": False}],
        [{"call": "a", "output": None}],
        [{"call": "", "approved": 1}],
    ),
    *([{"call": "a", "approved": True, "arguments": []}], [{"call": "a", "output": 1, "reason": "x" * 1_001}]),
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

        # No method that is described is answered with these: the second is of addresses that accept tokens only, and the
        # third of OpenAI's API, whose errors have a schema of their own.
        assert codes == STATUSES.keys() - {"method_not_allowed", "token_required", "approval_required"}


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
        for _method, path, _described in operations()
        for handler in handlers_of(resolve(filled(path, uuid.UUID(int=7))).func).values()
    }
    described = [operation_of(handler) for handler in handlers]
    fields = [
        field for each in described for part in (each.body, each.query) if part for field in part().checks.items()
    ]
    return [(name, check) for name, check in fields if check.schema != {"type": "string"}]


def accepts(name: str, check: parsing.Check, sample: Any) -> bool:
    """Return whether a field may have this value."""
    if name in ("limit", "sdk") and isinstance(sample, str):
        # Of a query string, where a number is text.
        return False
    if name == "sdk":
        sample = str(sample)
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


class OtherAPITests(ApiTestCase):
    """The addresses of other APIs describe their errors by status: each is answered, and no other."""

    def setUp(self) -> None:
        super().setUp()
        self.bearer = {"Authorization": f"Bearer {make_token(self.user)}"}
        self.statuses: set[int] = set()

    def ask(self, method: str, path: str, body: Any = None, *, user: bool = True, **options: Any) -> int:
        """Send a request, whose answer must be described, and note its status."""
        api, headers = self.api if user else Api(), options.pop("headers", {})
        if path.startswith("v1/") and user:
            headers = {**self.bearer, **headers}
        response = api.ask(method, path, body, headers=headers, **options)
        if response.streaming:
            response.getvalue()
        self.statuses.add(response.status_code)
        return response.status_code

    def check(self, method: str, path: str, body: Any = None) -> None:
        """Assert that the address has answered with each status that is described, and with no other."""
        described = next(
            described
            for described_method, pattern, described in operations()
            if described_method == method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", pattern), f"/{path}")
        )
        self.fail_in_every_way(method, path, body)

        # Too slow: tests/views/test_body_limit.py.
        assert {str(status) for status in self.statuses | ({408} if method == "POST" else set())} == set(
            described["responses"]
        )

    def fail_in_every_way(self, method: str, path: str, body: Any) -> None:
        """Have the address refuse a request for every reason that is not its own."""
        self.ask(method, path, body, user=False)
        self.ask(method, path, body, headers={"Authorization": "Bearer wrong"})
        with override_settings(STREAMING_CHAT_PERMISSIONS={"BACKEND": f"{__name__}.Closed"}):
            self.ask(method, path, body)
        with override_settings(STREAMING_CHAT_PERMISSIONS={"BACKEND": f"{__name__}.Busy"}):
            self.ask(method, path, body)
        with override_settings(STREAMING_CHAT_PERMISSIONS={"BACKEND": f"{__name__}.Broken"}):
            self.ask(method, path, body)
        with override_settings(STREAMING_CHAT_PERMISSIONS={"BACKEND": f"{__name__}.Away"}):
            self.ask(method, path, body)
        if method == "POST":
            self.ask(method, path, "a=b", content_type="text/plain")
            self.ask(method, path, {"id": "x" * parsing.max_body_bytes()})
            self.ask(method, path, {"messages": 1, "unknown": 1} if body else {"unknown": 1})

    def say(self, **body: Any) -> dict[str, Any]:
        return {"id": "mine", "messages": [{"role": "user", "content": "Hi"}], **body}

    def test_ai_chat(self):
        self.ask("POST", "ai/chat", self.say())
        delete_for_owner(Conversation.objects.get().pk)
        assert self.ask("POST", "ai/chat", self.say()) == 404
        live = make_live(make_conversation(self.user))
        assert self.ask("POST", "ai/chat", self.say(id=str(live.conversation_id))) == 409
        self.check("POST", "ai/chat", self.say())

    def test_the_messages_of_a_chat(self):
        assert self.ask("GET", "ai/chat/mine") == 404
        self.ask("POST", "ai/chat", self.say())
        assert [self.ask("GET", f"ai/chat/mine?limit={limit}") for limit in (1, 0)] == [200, 422]
        self.check("GET", "ai/chat/mine")

    def test_the_stream_of_a_chat(self):
        assert self.ask("GET", "ai/chat/mine/stream") == 204
        assert self.ask("GET", "ai/chat/mine/stream?sdk=x") == 422
        live = make_live(make_conversation(self.user))
        assert self.ask("HEAD", f"ai/chat/{live.conversation_id}/stream") == 200
        self.check("GET", "ai/chat/mine/stream")

    def test_stopping_a_chat(self):
        assert self.ask("POST", "ai/chat/mine/stop", {}) == 404
        self.ask("POST", "ai/chat", self.say())
        assert self.ask("POST", "ai/chat/mine/stop", {}) == 204
        self.provider.script(Script(gates={0: Gate()}))
        begun = self.api.post("ai/chat", self.say(id="live"))
        assert self.ask("POST", "ai/chat/live/stop", {}) == 200
        begun.getvalue()
        elsewhere = make_live(make_conversation(self.user))
        with mock.patch.object(replies, "_STOP_TIMEOUT", 0.01):
            assert self.ask("POST", f"ai/chat/{elsewhere.conversation_id}/stop", {}) == 202
        self.check("POST", "ai/chat/mine/stop", {})

    def test_ag_ui(self):
        run = {"threadId": "mine", "runId": "r", "messages": [{"id": "m", "role": "user", "content": "Hi"}]}
        assert self.ask("POST", "ai/ag_ui", run) == 200
        delete_for_owner(Conversation.objects.get().pk)
        assert self.ask("POST", "ai/ag_ui", {**run, "runId": "s"}) == 404
        live = make_live(make_conversation(self.user))
        assert self.ask("POST", "ai/ag_ui", {**run, "threadId": str(live.conversation_id)}) == 409
        self.check("POST", "ai/ag_ui", run)

    def test_chat_completions(self):
        body = {"model": "scripted:model", "messages": [{"role": "user", "content": "Hi"}]}
        path = "v1/chat/completions"
        assert [self.ask("POST", path, {**body, "stream": stream}) for stream in (True, False)] == [200, 200]
        assert self.ask("POST", path, {**body, "model": "other:model"}) == 404
        for code, status in (("provider_auth", 502), ("provider_timeout", 504), ("provider_unavailable", 503)):
            self.provider.script(Script("", error=code))
            assert self.ask("POST", path, body) == status
        # Two requests at once may be in each other's way.
        self.statuses.add(409)
        self.check("POST", path, body)

    def test_the_models(self):
        assert self.ask("GET", "v1/models") == 200
        self.check("GET", "v1/models")

    def test_what_openais_api_does_not_know_is_refused_by_its_name(self):
        """With the names that the document has."""
        _method, _path, described = next(each for each in operations() if each[1] == "/v1/chat/completions")
        response = self.api.post("v1/chat/completions", {"unknown": 1}, headers=self.bearer)
        known = re.search("unknown: Unknown field; the fields are: (.*?)\\.", response.json()["error"]["message"])[1]

        assert known.split(", ") == list(body_schema(described)["properties"])


class Closed(Permissions):
    """Forbids everything."""

    def authenticate(self, request: Any) -> Any:
        super().authenticate(request)
        raise APIError(403, "forbidden")


class Busy(Permissions):
    """A site that limits requests itself."""

    def authenticate(self, request: Any) -> Any:
        raise APIError(429, "too_many_requests", retry_after=1)


class Broken(Permissions):
    """Has a fault."""

    def authenticate(self, request: Any) -> Any:
        raise RuntimeError("on purpose")


class Away(Permissions):
    """Cannot reach its database."""

    def authenticate(self, request: Any) -> Any:
        raise InterfaceError("connection already closed")


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
