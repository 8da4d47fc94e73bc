"""How many requests wait in the mailboxes of the roles that use some models, as far as this worker knows."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.contract.names import Role
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.consumer.mailbox import Mailbox

__all__ = ["QueueDepths"]


class QueueDepths:
    """Of the interactive lanes: batch work takes what quota is left, and no share of its own."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._chains = {role: frozenset(config.chain) for role, config in catalogue.roles.items()}
        self._mailboxes: dict[Role, Mailbox] = {}

    def add(self, role: Role, mailbox: Mailbox) -> None:
        self._mailboxes[role] = mailbox

    def waiting_for(self, models: frozenset[str]) -> Mapping[str, int]:
        """By role whose chain contains one of `models`."""
        return {role: box.queued for role, box in self._mailboxes.items() if self._chains[role] & models}
