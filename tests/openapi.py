"""The OpenAPI document, held against what the API really answers. tests/native.py checks every answer in this way."""

import copy
import json
import re
from functools import cache
from typing import Any

import jsonschema_rs

from streaming_chat.encoders import formats
from streaming_chat.views.api.openapi import document

_UUID = "[0-9a-fA-F-]{36}"


def check_answer(method: str, path: str, response: Any) -> None:
    """Assert that the document has this answer. path: below the app's own, such as "api/messages"; unknown ones pass."""
    route = _route_of(f"/{path.partition('?')[0]}")
    described = route and _document(tuple(formats()))["paths"][route].get(method.lower())
    if not described:
        return
    status, kind = str(response.status_code), response.headers.get("Content-Type", "").partition(";")[0]

    assert status in described["responses"], f"{method} {route} does not describe {status}: {response.content}"

    if content := _content_of(tuple(formats()), described["responses"][status]):
        assert kind in content, f"{method} {route} does not describe {kind} with {status}."
    # A file that streams has no schema.
    if kind == "application/json" and method != "HEAD" and not response.streaming:
        _validator(tuple(formats()), route, method, status).validate(json.loads(response.content))


@cache
def _document(of_formats: tuple[str, ...]) -> dict[str, Any]:
    return closed(document())


@cache
def _routes() -> list[tuple[re.Pattern[str], str]]:
    return [
        (re.compile(re.sub(r"\{\w+\}", _UUID, re.escape(path).replace(r"\{", "{").replace(r"\}", "}"))), path)
        for path in document()["paths"]
    ]


def _route_of(path: str) -> str | None:
    return next((route for pattern, route in _routes() if pattern.fullmatch(path)), None)


def _content_of(of_formats: tuple[str, ...], response: dict[str, Any]) -> dict[str, Any]:
    return _resolved(of_formats, response).get("content", {})


def _resolved(of_formats: tuple[str, ...], response: dict[str, Any]) -> dict[str, Any]:
    name = response.get("$ref", "").rpartition("/")[2]
    return _document(of_formats)["components"]["responses"][name] if name else response


@cache
def _validator(of_formats: tuple[str, ...], route: str, method: str, status: str) -> Any:
    described = _document(of_formats)
    content = _content_of(of_formats, described["paths"][route][method.lower()]["responses"][status])
    schema = content["application/json"]["schema"]
    return validator({**schema, "components": described["components"]})


def validator(schema: dict[str, Any]) -> Any:
    """Return a validator of JSON Schema 2020-12, the dialect of OpenAPI 3.1."""
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True)


def closed(described: Any) -> Any:
    """Return a copy in which objects have no other properties than the described ones. The published schemas are open,
    since clients have to ignore properties that they do not know."""
    described = copy.deepcopy(described)
    for schema in _schemas(described):
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
    return described


def _schemas(value: Any) -> Any:
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _schemas(item)
