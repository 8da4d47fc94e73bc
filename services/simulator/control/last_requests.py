"""The body of each model's last request, byte for byte."""

from __future__ import annotations

from typing import Final

__all__ = ["LastRequests"]

_MODELS_KEPT: Final = 100


class LastRequests:
    def __init__(self) -> None:
        self._bodies: dict[str, bytes] = {}

    def record(self, model: str, body: bytes) -> None:
        self._bodies.pop(model, None)
        self._bodies[model] = body
        if len(self._bodies) > _MODELS_KEPT:
            del self._bodies[next(iter(self._bodies))]

    def of(self, model: str) -> bytes | None:
        """None if that model received no request, or too many other models received one since."""
        return self._bodies.get(model)
