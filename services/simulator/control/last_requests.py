"""What was really sent: the body of each model's last request, byte for byte."""

from __future__ import annotations

from typing import Final

__all__ = ["LastRequests"]

_MODELS_KEPT: Final = 100


class LastRequests:
    def __init__(self) -> None:
        self._bodies: dict[str, bytes] = {}

    def keep(self, model: str, body: bytes) -> None:
        self._bodies.pop(model, None)
        self._bodies[model] = body
        if len(self._bodies) > _MODELS_KEPT:
            del self._bodies[next(iter(self._bodies))]

    def of(self, model: str) -> bytes | None:
        """None: that model was not asked, or too many others were since."""
        return self._bodies.get(model)
