"""D3: providers to which this worker failed to connect."""

from __future__ import annotations

from services.worker.models.availability import ConnectFailures


def test_a_failed_connection_makes_a_provider_unreachable_for_30_s() -> None:
    known = ConnectFailures()
    assert not known.is_unreachable("p", 0.0)
    known.record_failure("p", 10.0)
    assert known.is_avoided("p", 14.9)
    assert not known.is_avoided("p", 15.0)
    assert known.is_unreachable("p", 39.9)
    assert not known.is_unreachable("p", 40.0)
    assert not known.is_unreachable("q", 10.0)
    assert known.unreachable(12.0) == ("p",)
    known.record_connection("p")
    assert known.unreachable(12.0) == ()
