"""Providers to which this worker recently failed to connect."""

from __future__ import annotations

from typing import Final

__all__ = ["ConnectFailures"]

_UNREACHABLE_S: Final = 30.0
"""Seconds after the last failure during which the provider is reported as unreachable, so that other workers do not
hand requests over to this one."""
_AVOIDED_S: Final = 5.0
"""Seconds after the last failure during which requests are left to another worker that can reach the provider."""


class ConnectFailures:
    """Last failure by provider, until a connection succeeds. Times are the event loop's."""

    def __init__(self) -> None:
        self._failed_s: dict[str, float] = {}

    def record_failure(self, provider: str, now_s: float) -> None:
        self._failed_s[provider] = now_s

    def record_connection(self, provider: str) -> None:
        self._failed_s.pop(provider, None)

    def is_unreachable(self, provider: str, now_s: float) -> bool:
        return self._failed_within(_UNREACHABLE_S, provider, now_s)

    def is_avoided(self, provider: str, now_s: float) -> bool:
        return self._failed_within(_AVOIDED_S, provider, now_s)

    def unreachable(self, now_s: float) -> tuple[str, ...]:
        return tuple(provider for provider in self._failed_s if self.is_unreachable(provider, now_s))

    def _failed_within(self, span_s: float, provider: str, now_s: float) -> bool:
        failed_s = self._failed_s.get(provider)
        return failed_s is not None and now_s < failed_s + span_s
