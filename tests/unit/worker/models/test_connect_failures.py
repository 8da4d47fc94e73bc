"""D3: providers to which this worker failed to connect."""

from __future__ import annotations

from services.worker.models.connect_failures import ConnectFailures


def test_a_failed_connection_makes_a_provider_unreachable_for_30_s() -> None:
    known = ConnectFailures()
    assert not known.is_out_of_reach("p", 0.0)
    known.failed("p", 10.0)
    assert known.is_left_alone("p", 14.9)
    assert not known.is_left_alone("p", 15.0)
    assert known.is_out_of_reach("p", 39.9)
    assert not known.is_out_of_reach("p", 40.0)
    assert not known.is_out_of_reach("q", 10.0)
    assert known.shown(12.0) == ("p",)
    known.connected("p")
    assert known.shown(12.0) == ()
