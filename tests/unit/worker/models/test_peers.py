"""The warning about a router with another catalogue (D10)."""

from __future__ import annotations

import pytest

from penstock.contract.presence import Presence
from services.worker.models.peers import Peers
from tests.unit.worker.worker_parts import catalogue_of

CATALOGUE = catalogue_of()
OWN = CATALOGUE.digest()


def router(catalogue: str, service: str = "router") -> Presence:
    return Presence(service=service, instance="r1", at_ms=0, catalogue=catalogue)


def test_d10_a_router_with_another_catalogue_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    peers = Peers(CATALOGUE, "w")

    peers.observe("r1", router("bb"), 0)
    peers.observe("r1", router("bb"), 0)

    (record,) = caplog.records
    assert f"r1 runs with another catalogue (bb) than this worker ({OWN})" in record.getMessage()


@pytest.mark.parametrize("presence", [router(OWN), router(""), router("bb", "worker"), None])
def test_other_heartbeats_are_not_logged(presence: Presence | None, caplog: pytest.LogCaptureFixture) -> None:
    Peers(CATALOGUE, "w").observe("r1", presence, 0)

    assert not caplog.records
