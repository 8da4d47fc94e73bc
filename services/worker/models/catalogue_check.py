"""Compares this worker's catalogue with the one that each router reports in its heartbeat."""

from __future__ import annotations

from typing import Final

from penstock.bus.log_limits import rate_limited_logger
from penstock.contract.presence import Presence

__all__ = ["CatalogueCheck"]

_log: Final = rate_limited_logger(__name__)


class CatalogueCheck:
    """Warns when a router runs with another catalogue: it routes to roles and models that this worker lacks."""

    def __init__(self, digest: str) -> None:
        self._digest = digest
        self._reported = ""
        """The digest of the last warning."""

    def observe(self, instance: str, presence: Presence | None) -> None:
        if presence is None or presence.service != "router":
            return
        digest = presence.catalogue
        if digest in {"", self._digest, self._reported}:
            return
        self._reported = digest
        _log.warning(
            "%s runs with another catalogue (%s) than this worker (%s): its requests may name roles and models that "
            "do not exist here",
            instance,
            digest,
            self._digest,
        )
