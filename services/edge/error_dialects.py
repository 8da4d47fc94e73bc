"""Which dialect gives the errors of a path their shape."""

from __future__ import annotations

from typing import Final

from services.edge.dialects.chat import ChatDialect
from services.edge.dialects.dialect import Dialect
from services.edge.dialects.messages import MessagesDialect
from services.edge.dialects.responses import ResponsesDialect
from services.edge.openapi import operations

__all__ = ["error_dialect"]

_DIALECTS: Final[dict[str, Dialect]] = {
    operations.CREATE_RESPONSE.path: ResponsesDialect(),
    operations.CREATE_MESSAGE.path: MessagesDialect(),
}
_OTHER: Final = ChatDialect()


def error_dialect(path: str) -> Dialect:
    """That of the route at or above `path`, also where `path` itself has no route; chat completions for all others."""
    for route, dialect in _DIALECTS.items():
        if path == route or path.startswith(f"{route}/"):
            return dialect
    return _OTHER
