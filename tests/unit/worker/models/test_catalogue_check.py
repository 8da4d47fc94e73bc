"""The warning about a router with another catalogue (D10)."""

from __future__ import annotations

import pytest

from penstock.contract.presence import Presence
from services.worker.models.catalogue_check import CatalogueCheck


def router(catalogue: str, service: str = "router") -> Presence:
    return Presence(service=service, instance="r1", at_ms=0, catalogue=catalogue)


def test_d10_a_router_with_another_catalogue_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    check = CatalogueCheck("aa")

    check.observe("r1", router("bb"))
    check.observe("r1", router("bb"))

    (record,) = caplog.records
    assert "r1 runs with another catalogue (bb) than this worker (aa)" in record.getMessage()


@pytest.mark.parametrize("presence", [router("aa"), router(""), router("bb", "worker"), None])
def test_other_heartbeats_are_not_logged(presence: Presence | None, caplog: pytest.LogCaptureFixture) -> None:
    CatalogueCheck("aa").observe("r1", presence)

    assert not caplog.records
