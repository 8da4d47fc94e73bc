"""How many requests wait in which mailboxes for some models, as far as this worker has heard."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.contract.names import Role
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.consumer.mailbox import Mailbox

__all__ = ["Queued"]


class Queued:
    """Of the interactive lane: batch work takes what is left, and no share of its own."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._chains = {role: frozenset(config.chain) for role, config in catalogue.roles.items()}
        self._boxes: dict[Role, Mailbox] = {}

    def add(self, role: Role, box: Mailbox) -> None:
        self._boxes[role] = box

    def behind(self, models: frozenset[str]) -> Mapping[str, int]:
        return {role: box.queued for role, box in self._boxes.items() if self._chains[role] & models}
