"""The OpenAPI document (3.1), made of the operations in the route table, the structs of bodies, and the error codes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from services.edge.answers.limit_headers import LIMIT_HEADERS
from services.edge.answers.reply_facts import REPLY_HEADERS
from services.edge.dialects.messages import MessagesDialect
from services.edge.error_dialects import error_dialect
from services.edge.http.errors import ALL_ERRORS
from services.edge.http.operation import AnyErrorCode, Operation, OperationResponse, Parameter
from services.edge.openapi.bodies import ErrorResponse, MessagesErrorResponse

__all__ = ["openapi_document"]

_Json = dict[str, Any]

_COMPONENTS: Final = "#/components/schemas/"
_ERROR, _MESSAGES_ERROR = ErrorResponse.__name__, MessagesErrorResponse.__name__
_EVERYWHERE: Final[tuple[AnyErrorCode, ...]] = ("internal",)
_BEFORE_THE_ROUTE: Final[tuple[AnyErrorCode, ...]] = (
    *("invalid_request", "request_timeout", "headers_too_large", "upgrade_not_served"),
)
"""Errors of the connection, in OpenAI's shape also where the route has another."""
_WITH_KEY: Final[tuple[AnyErrorCode, ...]] = (
    *("misplaced_api_key", "invalid_api_key", "misdirected_request", "too_many_requests", "keys_unavailable"),
)
_WITH_PARAMETERS: Final[tuple[AnyErrorCode, ...]] = ("invalid_request",)
_WITH_BODY: Final[tuple[AnyErrorCode, ...]] = (
    *("invalid_request", "request_timeout", "request_too_large", "unsupported_media_type"),
)
_HEADERS: Final[Mapping[str, str]] = {
    **REPLY_HEADERS,
    **LIMIT_HEADERS["openai"],
    **LIMIT_HEADERS["anthropic"],
    "idempotent-replayed": "`true`: the answer, and its cost, are those of an earlier request with the same key.",
    "location": "The address of the job.",
}
_UNKNOWN_FIELDS: Final[Mapping[str, Any]] = {"passed": True, "ignored": True, "refused": {"type": "null"}}
_INFO: Final = (
    "OpenAI's Chat Completions and Responses and Anthropic's Messages, served by workers behind a queue. Every `GET` "
    "answers `HEAD` as well. Another method on a path is a 405, another path a 404. What is not HTTP, or too large or "
    "too slow before the route is known, is an error in OpenAI's shape on every path."
)
_KEY: Final = (
    "Needed once the edge has a key; an edge without keys accepts connections from its own machine only."
)


def openapi_document(operations: Sequence[Operation], version: str) -> _Json:
    """`version`: that of the gateway."""
    schemas = _Schemas(operations)
    paths: dict[str, _Json] = {}
    for operation in operations:
        path = paths.setdefault(operation.path.replace("...}", "}"), {})
        path[operation.method.lower()] = _operation(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Penstock", "version": version, "description": _INFO},
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in dict.fromkeys(each.group for each in operations)],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "headers": {
                name: {"description": meaning, "schema": {"type": "string"}}
                for name, meaning in _HEADERS.items()
            },
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": _KEY},
                "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": _KEY},
            },
        },
    }


class _Schemas:
    """The schema of each type that the operations name. Structs are components."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self.components: _Json = {}
        self._made: dict[Any, _Json] = {}
        bodies = {each.body: each for each in operations if each.body is not None}
        for module in dict.fromkeys(body.__module__ for body in bodies):
            self._add_bodies([body for body in bodies if body.__module__ == module])
        for body, operation in bodies.items():
            self.components[body.__name__]["additionalProperties"] = _UNKNOWN_FIELDS[operation.unknown_fields]
        self._add(
            [
                *(each.type for operation in operations for each in operation.parameters),
                *(kind for each in operations for one in each.responses for kind in one.content.values()),
                *(ErrorResponse, MessagesErrorResponse),
            ]
        )

    def of(self, kind: Any) -> _Json:
        return dict(self._made[kind])

    def _add_bodies(self, bodies: Sequence[Any]) -> None:
        """All request bodies of one module. Its other structs are parts of them: their names are prefixed with that of
        the first body.
        """
        self._add(bodies, prefix=bodies[0].__name__)

    def _add(self, kinds: Sequence[Any], *, prefix: str = "") -> None:
        """`prefix`: goes before the names of structs that are not in `kinds`."""
        kept = {kind.__name__ for kind in kinds} if prefix else set()
        made, components = msgspec.json.schema_components(kinds, ref_template=f"{_COMPONENTS}{{name}}")
        names = {name: name if name in kept else prefix + name.lstrip("_") for name in components}
        for name, schema in components.items():
            schema.pop("title", None)
            self.components[names[name]] = _renamed(schema, names)
        for kind, schema in zip(kinds, made, strict=True):
            self._made[kind] = _renamed(schema, names)


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """`value` with the new names of the components to which it refers."""
    match value:
        case dict():
            return {key: _renamed(each, names) for key, each in value.items()}
        case list():
            return [_renamed(each, names) for each in value]
        case str() if value.startswith(_COMPONENTS):
            return _COMPONENTS + names[value.removeprefix(_COMPONENTS)]
    return value


def _operation(operation: Operation, schemas: _Schemas) -> _Json:
    described: _Json = {
        "operationId": operation.id,
        "tags": [operation.group],
        "summary": operation.summary,
    }
    if operation.description:
        described["description"] = operation.description
    if operation.needs_key:
        described["security"] = [{}, {"bearer": []}, {"x-api-key": []}]
    if operation.parameters:
        described["parameters"] = [_parameter(each, schemas) for each in operation.parameters]
    if operation.body is not None:
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schemas.of(operation.body)}},
        }
    described["responses"] = {
        **{str(each.status): _response(each, schemas) for each in operation.responses},
        **_errors(operation),
    }
    return described


def _parameter(parameter: Parameter, schemas: _Schemas) -> _Json:
    schema = schemas.of(parameter.type)
    description = schema.pop("description", "")
    alternatives = [each for each in schema.pop("anyOf", ()) if each != {"type": "null"}]
    schema.update(*alternatives)
    if parameter.default not in (None, ""):
        schema["default"] = parameter.default
    return {
        "name": parameter.name,
        "in": parameter.location,
        "required": parameter.location == "path",
        "description": description,
        "schema": schema,
    }


def _response(response: OperationResponse, schemas: _Schemas) -> _Json:
    described: _Json = {"description": response.description}
    if response.headers:
        described["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in response.headers}
    if response.content:
        described["content"] = {
            media_type: {"schema": schemas.of(kind)} for media_type, kind in response.content.items()
        }
    return described


def _errors(operation: Operation) -> _Json:
    own: set[AnyErrorCode] = {*_EVERYWHERE, *operation.errors}
    if operation.waits_for_nats:
        own.add("bus_unavailable")
    if operation.needs_key:
        own.update(_WITH_KEY)
    if operation.parameters:
        own.update(_WITH_PARAMETERS)
    if operation.body is not None:
        own.update(_WITH_BODY)
    by_status: dict[int, list[tuple[str, AnyErrorCode]]] = {}
    shape = _MESSAGES_ERROR if isinstance(error_dialect(operation.path), MessagesDialect) else _ERROR
    found = dict.fromkeys([*((shape, code) for code in own), *((_ERROR, code) for code in _BEFORE_THE_ROUTE)])
    for each in sorted(found):
        by_status.setdefault(ALL_ERRORS[each[1]].status, []).append(each)
    taken = {response.status for response in operation.responses}
    return {
        str(status): _error_response(errors)
        for status, errors in sorted(by_status.items())
        if status not in taken
    }


def _error_response(errors: Iterable[tuple[str, AnyErrorCode]]) -> _Json:
    """`errors`: shapes and codes."""
    codes: dict[str, list[str]] = {}
    for shape, code in errors:
        codes.setdefault(shape, []).append(code)
    schemas = [_error_schema(shape, named) for shape, named in codes.items()]
    meanings = [f"`{code}`: {ALL_ERRORS[code].meaning}" for code in sorted({code for _, code in errors})]
    return {
        "description": " ".join(meanings),
        "content": {"application/json": {"schema": schemas[0] if len(schemas) == 1 else {"anyOf": schemas}}},
    }


def _error_schema(shape: str, codes: Sequence[str]) -> _Json:
    code: _Json = {"enum": list(codes)}
    if shape == _MESSAGES_ERROR:
        error = {"properties": {"details": {"properties": {"error_code": code}}}}
    else:
        error = {"properties": {"code": code}}
    return {"allOf": [{"$ref": f"{_COMPONENTS}{shape}"}, {"properties": {"error": error}}]}
