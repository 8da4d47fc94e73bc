"""An edge without keys serves this machine only."""

from __future__ import annotations

import ipaddress
import logging
from typing import Final

from penstock.runtime.config.problems import ConfigurationRefused, Problem
from penstock.runtime.config.settings import SOURCE
from services.edge.auth.identity import Identity
from services.edge.auth.known_keys import KnownKeys

__all__ = ["sender_without_keys"]

_log: Final = logging.getLogger(__name__)
_COMMAND: Final = "`penstock keys create`"


def sender_without_keys(keys: KnownKeys, address: str, account: str) -> Identity | None:
    """The sender of requests while no key exists; None: a key is always required.

    `address`: the IP address on which the edge listens. Raises ConfigurationRefused where it can be reached from other
    machines and no key exists.
    """
    is_local = ipaddress.ip_address(address).is_loopback
    if not keys.are_read:
        _log.warning(
            "the API keys cannot be read from NATS yet: requests get the status 503 until they can be"
        )
    elif not keys.are_required:
        if not is_local:
            raise _refused(address)
        _log.warning(
            "no API key exists: this edge listens on %s only, and every request counts for the account %s; "
            "%s creates a key, and from then on one is required",
            *(address, account, _COMMAND),
        )
    return Identity(account=account) if is_local else None


def _refused(address: str) -> ConfigurationRefused:
    problem = Problem(
        key="PENSTOCK_EDGE_HOST",
        problem=f"the edge would serve everyone who can reach {address}, because no API key exists",
        fix=f"create a key with {_COMMAND} while Penstock runs (start it without PENSTOCK_EDGE_HOST for that), then "
        "start the edge again",
    )
    return ConfigurationRefused(SOURCE, [problem])
