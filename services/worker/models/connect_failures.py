"""Providers to which this worker could not connect lately."""

from __future__ import annotations

from typing import Final

__all__ = ["Unreachable"]

_BELIEVED_S: Final = 30.0
"""How long after the last attempt to connect a provider counts as out of reach; others hand no request over for it."""
_LEFT_ALONE_S: Final = 5.0
"""How long after it no request is taken for the provider while another worker can reach it."""


class Unreachable:
    """By provider, until a connection is made. Instants are the loop's."""

    def __init__(self) -> None:
        self._failed_s: dict[str, float] = {}

    def failed(self, provider: str, now_s: float) -> None:
        self._failed_s[provider] = now_s

    def connected(self, provider: str) -> None:
        self._failed_s.pop(provider, None)

    def is_out_of_reach(self, provider: str, now_s: float) -> bool:
        return self._failed_within(_BELIEVED_S, provider, now_s)

    def is_left_alone(self, provider: str, now_s: float) -> bool:
        return self._failed_within(_LEFT_ALONE_S, provider, now_s)

    def shown(self, now_s: float) -> tuple[str, ...]:
        return tuple(provider for provider in self._failed_s if self.is_out_of_reach(provider, now_s))

    def _failed_within(self, span_s: float, provider: str, now_s: float) -> bool:
        failed_s = self._failed_s.get(provider)
        return failed_s is not None and now_s < failed_s + span_s
