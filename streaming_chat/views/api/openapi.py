"""The OpenAPI document of the API, made of the views' addresses and of what is declared beside their handlers.

Source: https://spec.openapis.org/oas/v3.1.1.html
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from operator import itemgetter
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import URLPattern, get_resolver

from streaming_chat import __version__
from streaming_chat.accounts.owners import Owner
from streaming_chat.encoders import DEFAULT_FORMAT, encoder_named, formats

from . import parsing
from .operations import STATUSES, Content, Operation, handlers_of, operation, operation_of
from .responses import Answer, api
from .schemas import ERROR_DETAILS, SCHEMAS, error, record, ref

# Where the example site has the app.
DEFAULT_ROOT = "/chat"
_URL_PARAMETER = re.compile(r"<(\w+):(\w+)>")
_DESCRIPTION = """\
Conversations with language models, whose replies stream. docs/http-api.md explains the formats.

Every path answers a method that it does not have with 405 `method_not_allowed`, and HEAD wherever it has GET."""
_HEADERS = {
    401: {"WWW-Authenticate": {"description": "How to authenticate.", "schema": {"type": "string"}}},
    429: {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}},
    503: {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}},
}


@operation(answers={200: "Document"})
def get_document(request: HttpRequest, owner: Owner) -> Answer:
    """The OpenAPI 3.1 document, with the limits and the choices of this site."""
    return document(request.path.removesuffix("/api/openapi.json"))


def document(root: str = DEFAULT_ROOT) -> dict[str, Any]:
    """Return the document. root: the path at which the site has included the app's URLs, without a slash at its end."""
    paths: dict[str, Any] = {}
    responses: dict[str, Any] = {}
    for pattern in get_resolver("streaming_chat.urls").url_patterns:
        if isinstance(pattern, URLPattern) and (operations := _operations_of(pattern, responses)):
            paths[_path_of(pattern)] = operations
    return {
        "openapi": "3.1.1",
        "info": {"title": "streaming_chat", "version": __version__, "description": _DESCRIPTION},
        "servers": [{"url": root or "/"}],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "responses": dict(sorted(responses.items())),
            "securitySchemes": _security_schemes(),
        },
    }


def _operations_of(pattern: URLPattern, responses: dict[str, Any]) -> dict[str, Any]:
    """Return the operations at an address, by method. responses: to which those of their errors are added."""
    return {
        method.lower(): _operation(pattern, method, handler, responses)
        for method, handler in handlers_of(pattern.callback).items()
    }


def _operation(
    pattern: URLPattern, method: str, handler: Callable[..., Any], responses: dict[str, Any]
) -> dict[str, Any]:
    described = operation_of(handler)
    name = str(pattern.name).removeprefix("api-").replace("-", "_")
    shown: dict[str, Any] = {
        "operationId": f"{method.lower()}_{name}",
        "summary": (inspect.getdoc(handler) or "").partition("\n\n")[0].replace("\n", " "),
        "security": _security(method, described),
        "parameters": [*_url_parameters(pattern), *_query_parameters(described), *_header_parameters(described)],
    }
    if described.body:
        shown["requestBody"] = _request_body(described.body(), is_open=described.ignores_unknown)
    if described.failures:
        errors = _failures(described.failures)
    else:
        errors = _errors(described.codes(method, _path_of(pattern)), responses)
    shown["responses"] = _answers(described) | errors
    return shown


def _path_of(pattern: URLPattern) -> str:
    return "/" + _URL_PARAMETER.sub(r"{\2}", str(pattern.pattern))


def _url_parameters(pattern: URLPattern) -> Iterable[dict[str, Any]]:
    for kind, name in _URL_PARAMETER.findall(str(pattern.pattern)):
        schema = {"type": "string"} | ({"format": "uuid"} if kind == "uuid" else {})
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(described: Operation) -> Iterable[dict[str, Any]]:
    fields = described.query() if described.query else parsing.no_fields()
    for name, check in fields.checks.items():
        required = {"required": True} if name in fields.required else {}
        yield {"name": name, "in": "query", **required, "schema": check.schema}
    if described.streams:
        schema = {"type": "string", "enum": formats(), "default": DEFAULT_FORMAT}
        yield {"name": "format", "in": "query", "description": "The format of the stream.", "schema": schema}


def _header_parameters(described: Operation) -> Iterable[dict[str, Any]]:
    for name in described.headers:
        yield {"name": name, "in": "header", "schema": {"type": "string"}}


def _request_body(fields: parsing.Fields, *, is_open: bool) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {name: check.schema for name, check in fields.checks.items()},
        "required": list(fields.required),
        "additionalProperties": is_open,
    }
    return {"required": bool(fields.required), "content": {"application/json": {"schema": schema}}}


def _answers(described: Operation) -> dict[str, Any]:
    answers = {str(status): _answer(content) for status, content in described.answers.items()}
    if described.streams:
        answers.setdefault("200", {"description": "", "content": {}})
        answers["200"]["description"] = "The stream of the reply, in the format that `format` names."
        answers["200"]["content"] |= _streams()
    return dict(sorted(answers.items()))


def _answer(content: Content) -> dict[str, Any]:
    if not content:
        return {"description": "Without a body."}
    return {"description": "The result.", "content": _content(content)}


def _failures(failures: Mapping[int, Content]) -> dict[str, Any]:
    return {
        str(status): {"description": "An error.", "content": _content(failures[status])} for status in sorted(failures)
    }


def _content(content: Content) -> dict[str, Any]:
    """Return an answer's content by its media type. A schema is of JSON; a media type has none."""
    names = (content,) if isinstance(content, str) else content or ()
    return dict((name, {}) if "/" in name else ("application/json", {"schema": ref(name)}) for name in names)


def _streams() -> dict[str, Any]:
    types = {encoder_named(name).content_type.partition(";")[0] for name in formats()}
    # Without a schema: OpenAPI 3.1 has none for the items of a stream.
    return {name: {} for name in sorted(types)}


def _errors(codes: list[str], responses: dict[str, Any]) -> dict[str, Any]:
    """Return the responses to errors by status, as references to `responses`, to which they are added."""
    by_status = sorted(((STATUSES[code], code) for code in codes), key=itemgetter(0))
    references = {}
    for status, group in groupby(by_status, itemgetter(0)):
        of_status = [code for _status, code in group]
        name = ".".join(map(str, (status, *of_status)))
        responses[name] = _error_response(status, of_status)
        references[str(status)] = {"$ref": f"#/components/responses/{name}"}
    return references


def _error_response(status: int, codes: list[str]) -> dict[str, Any]:
    details = {name: schema for code in codes for name, schema in ERROR_DETAILS.get(code, {}).items()}
    headers = {"headers": _HEADERS[status]} if status in _HEADERS else {}
    schema = record(error=error(*codes, **details))
    return {"description": " · ".join(codes), **headers, "content": {"application/json": {"schema": schema}}}


def _security(method: str, described: Operation) -> list[dict[str, list[str]]]:
    if described.bearer_only:
        return [{"bearer": []}]
    session: dict[str, list[str]] = {"session": []} if method == "GET" else {"session": [], "csrf": []}
    return [session, {"bearer": []}]


def _security_schemes() -> dict[str, Any]:
    csrf_header = settings.CSRF_HEADER_NAME.removeprefix("HTTP_").replace("_", "-").title()
    return {
        "session": {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME},
        "csrf": {"type": "apiKey", "in": "header", "name": csrf_header},
        "bearer": {"type": "http", "scheme": "bearer"},
    }


openapi_view = api(GET=get_document)
