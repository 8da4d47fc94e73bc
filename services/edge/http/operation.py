"""One operation of the HTTP interface as data: the route table serves it, and the OpenAPI document describes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from penstock.contract.errors import ErrorCode
from services.edge.http.errors import EdgeErrorCode

__all__ = ["AnyErrorCode", "Operation", "OperationResponse", "Parameter"]

AnyErrorCode = EdgeErrorCode | ErrorCode


class Parameter(Struct, frozen=True):
    """A parameter outside of the body."""

    name: str
    location: Literal["path", "query", "header"]
    type: Any
    """Its values, with a description as `msgspec.Meta`."""
    default: Any = None


class OperationResponse(Struct, frozen=True, kw_only=True):
    """A response without an error object."""

    status: int = 200
    description: str
    content: Mapping[str, Any] = {}
    """The type of the body by its media type; empty: there is no body."""
    headers: tuple[str, ...] = ()
    """Names of response headers that it may have."""


class Operation(Struct, frozen=True, kw_only=True):
    """One method of one path."""

    method: Literal["GET", "POST", "DELETE"]
    path: str
    """See Routes."""
    id: str
    """The operationId, unique."""
    group: str
    summary: str
    """One line."""
    description: str = ""
    needs_key: bool = True
    """Where the edge has keys."""
    waits_for_nats: bool = True
    """While the process starts, the answer is a 503, `bus_unavailable`; later too where it uses the bus."""
    parameters: tuple[Parameter, ...] = ()
    body: Any = None
    """The type of the JSON body; None: the body is not read."""
    unknown_fields: Literal["passed", "ignored", "refused"] = "passed"
    """Fields of the body that `body` does not have."""
    responses: tuple[OperationResponse, ...] = ()
    errors: tuple[AnyErrorCode, ...] = ()
    """Further codes than those that every operation has."""
