"""The OpenAPI document, made of api/openapi/operations.py and of who may do what."""

from collections.abc import Iterator
from functools import cache
from typing import Any, Final

from pydantic import TypeAdapter

from api.access import NEEDS, Need
from api.openapi.operation import Operation
from api.openapi.operations import OPERATIONS
from api.response import NEXT_CURSOR

Schema = dict[str, Any]

VERSION: Final = "1"
JSON: Final = "application/json"
_REFERENCE: Final = "#/components/schemas/{model}"
_ERRORS: Final = {
    400: "The question is at fault; the message says what is possible.",
    401: "No token, or none that can be read. Where keys are asked for, the host answers without a body.",
    403: "The caller's roles are not enough, or it may not see the app.",
    404: "Not there, or not for the caller to see.",
    409: "There is no room for more.",
    412: "It is not as If-Match or If-None-Match says.",
    413: "The body is too large.",
    414: "The query string is too long.",
    415: "The body is encoded; send it as it is.",
    500: "The app's settings are at fault, or the app; its log says more.",
    503: "A service does not answer, or the question takes too long: try again, or ask for less.",
}
_ALWAYS: Final = (414, 500, 503)
_GOOD: Final = {200: "The answer.", 201: "It is new.", 202: "Accepted.", 207: "Some were accepted."}
_INTRODUCTION: Final = """\
Exact token usage of language models behind Azure API Management, by app, model and hour.

Times are RFC 3339; a range is half open, `from` ≤ time < `to`. A key goes in the header `x-functions-key` or in the \
parameter `code`; where callers sign in instead, each sees the apps that it may see, and every answer is as if there \
were no others. Every error is `{"error": {"code", "message", "parameter"}}`.
"""


@cache
def document() -> Schema:
    """OpenAPI 3.1.0. Made once; takes about half a second."""
    paths: dict[str, dict[str, Any]] = {}
    answers = _Answers()
    for endpoint, method, operation in all_operations():
        path = paths.setdefault(f"/api/{operation.route}", {})
        path[method.lower()] = _operation(endpoint, method, operation, answers)
    return {
        "openapi": "3.1.0",
        "info": {"title": "LLM usage", "version": VERSION, "description": _INTRODUCTION, "license": {"name": "MIT"}},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": answers.components,
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "x-functions-key"},
                "key_in_query": {"type": "apiKey", "in": "query", "name": "code"},
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            },
        },
    }


def all_operations() -> Iterator[tuple[str, str, Operation]]:
    """Each endpoint, method and operation, in their order."""
    for endpoint, methods in OPERATIONS.items():
        for method, operation in methods.items():
            yield endpoint, method, operation


class _Answers:
    """The schemas of all bodies, made together so that they share their parts."""

    def __init__(self) -> None:
        wanted: dict[tuple[Any, Any], TypeAdapter[Any]] = {}
        for _, _, operation in all_operations():
            for shape in (*operation.gives.values(), operation.error):
                wanted[_key(shape), "serialization"] = TypeAdapter(shape)
            if operation.body is not None:
                wanted[_key(operation.body), "validation"] = TypeAdapter(operation.body)
        inputs = [(key, mode, adapter) for (key, mode), adapter in wanted.items()]
        schemas, shared = TypeAdapter.json_schemas(inputs, ref_template=_REFERENCE)
        self._schemas = {key: _plain(schema) for key, schema in schemas.items()}
        self.components: Schema = _plain(shared.get("$defs", {}))

    def of(self, shape: Any) -> Schema:
        """The schema of what an operation gives."""
        schema: Schema = self._schemas[_key(shape), "serialization"]
        return schema

    def of_body(self, shape: Any) -> Schema:
        """The schema of what it takes."""
        schema: Schema = self._schemas[_key(shape), "validation"]
        return schema


def _key(shape: Any) -> str:
    return str(shape)


def _plain(schema: Any) -> Any:
    """Without what pydantic adds for its own sake: titles made of names, and null as a default of what is optional."""
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: _plain(value)
        for name, value in schema.items()
        if not (name == "title" and isinstance(value, str)) and not (name == "default" and value is None)
    }


def _operation(endpoint: str, method: str, operation: Operation, answers: _Answers) -> Schema:
    need = NEEDS[endpoint][method]
    statuses = {*operation.refuses, *_ALWAYS}
    if need is not Need.NOTHING:
        statuses |= {401, 403} if need.value else {401}
    responses: dict[str, Schema] = {
        str(status): {"description": told, "content": {JSON: {"schema": answers.of(operation.error)}}}
        for status, told in _ERRORS.items()
        if status in statuses
    }
    for status, shape in operation.gives.items():
        told = _GOOD.get(status) or _ERRORS[status]
        responses[str(status)] = {"description": told, "content": {JSON: {"schema": answers.of(shape)}}}
    if operation.others:
        content = responses.setdefault("200", {"description": _GOOD[200], "content": {}})["content"]
        content |= {
            media: {"schema": {"type": "string", "description": told}} for media, told in operation.others.items()
        }
    _add_headers(responses, operation)
    roles = f"Where callers sign in, it needs the role {' or '.join(need.value)}." if need.value else ""
    shown: Schema = {
        "operationId": endpoint if method == "GET" else f"{endpoint}_{method.lower()}",
        "summary": operation.summary,
        "description": "\n\n".join(filter(None, (operation.told, roles))) or operation.summary,
        "security": [{}, {"token": []}] if operation.anonymous else [{"key": []}, {"key_in_query": []}, {"token": []}],
        "parameters": list(_parameters(operation, method)),
        "responses": dict(sorted(responses.items())),
    }
    if operation.body is not None:
        content = {"schema": answers.of_body(operation.body), "example": operation.body_example}
        shown["requestBody"] = {"required": True, "content": {JSON: content}}
    return shown


def _add_headers(responses: dict[str, Schema], operation: Operation) -> None:
    for status, response in responses.items():
        if operation.conditional and int(status) < 300:
            told = "What If-Match can say later."
            response["headers"] = {"ETag": {"description": told, "schema": {"type": "string"}}}
        if operation.paged and status == "200":
            told = "Leads to the next page; left out at the end."
            response["headers"] = {NEXT_CURSOR: {"description": told, "schema": {"type": "string"}}}


def _parameters(operation: Operation, method: str) -> Iterator[Schema]:
    for name, (pattern, example) in operation.path.items():
        schema = {"type": "string", "pattern": f"^{pattern}$"}
        yield {"name": name, "in": "path", "required": True, "schema": schema, "example": example}
    taken = _plain(operation.takes.model_json_schema())
    for name, schema in taken["properties"].items():
        shown: Schema = {"name": name, "in": "query", "description": schema.pop("description")}
        if name in taken.get("required", ()):
            shown["required"] = True
        if name == "group_by":  # a comma list; the others are repeated
            shown |= {"style": "form", "explode": False}
        shown["schema"] = schema
        if name in operation.example:
            example = operation.example[name]
            shown["example"] = {"array": [example], "integer": int(example) if example.isdigit() else 0}.get(
                schema["type"], example
            )
        yield shown
    if operation.conditional and method != "GET":
        for header, told in (("If-Match", "only what you have read"), ("If-None-Match", "with `*`, only what is new")):
            yield {
                "name": header,
                "in": "header",
                "description": f"Change {told}; else 412.",
                "schema": {"type": "string"},
            }
