"""C4: which stored records are valid."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from penstock.contract.codec import encode
from penstock.contract.quota import QuotaCorrection, QuotaLearned, QuotaLease, QuotaRecord
from services.worker.rate_limit.record.decode import decode_record


def test_c4_a_measurement_begun_before_the_record_is_valid() -> None:
    learned = QuotaLearned(per_minute=120.0, measured_from_ms=-59_000, grows_from_ms=-10, refused_ms=-5)
    record = QuotaRecord(at_ms=2_000, learned=learned)
    assert decode_record("provider.model", encode(record)) == record


HOUR_MS = 3_600_000
AT_MS = 5 * HOUR_MS
PLAIN = QuotaRecord(at_ms=AT_MS)
LEARNED = QuotaLearned(per_minute=1.0, measured_from_ms=0, grows_from_ms=0, refused_ms=0)


def ahead(ms: int) -> dict[str, QuotaRecord]:
    """Records with one instant that lies so much after the record's time."""
    at_ms = AT_MS + ms
    correction = QuotaCorrection(limit="requests_per_minute", ceiling=0)
    return {
        "pause": replace(PLAIN, paused_until_ms=at_ms),
        "lease": replace(PLAIN, leases=(QuotaLease(holder="w", number=1, until_ms=at_ms),)),
        "ceiling": replace(PLAIN, corrections=(replace(correction, ceiling_until_ms=at_ms),)),
        "withheld": replace(PLAIN, corrections=(replace(correction, withheld_until_ms=at_ms),)),
        "learned": replace(PLAIN, learned=replace(LEARNED, grows_from_ms=at_ms)),
    }


@pytest.mark.parametrize("instant", ahead(0))
def test_c4_a_record_that_reaches_hours_ahead_is_invalid_and_logged(
    instant: str, caplog: pytest.LogCaptureFixture
) -> None:
    for valid in (ahead(0)[instant], ahead(HOUR_MS + 60_000)[instant]):
        assert decode_record("provider.model", encode(valid)) == valid
    assert caplog.text == ""
    for ms in (2 * HOUR_MS + 1, 1 << 40):
        assert decode_record(f"provider.{ms}", encode(ahead(ms)[instant])) is None
        assert f"the record of provider.{ms} is not valid and is replaced" in caplog.text


@pytest.mark.parametrize("wrong", [(2, -1, 0), (2, 0, -1), (-2, 0, 0), (2, (1 << 53) + 1, 0)])
@pytest.mark.parametrize("window", ["minute", "day"])
def test_c4_a_record_with_an_invalid_grain_counts_as_missing(window: str, wrong: tuple[int, int, int]):
    for grains in ([(1, 1, 1), wrong, (3, 1, 1)], [wrong]):
        record = QuotaRecord(at_ms=5, **{window: tuple(grains)})
        assert decode_record("key", encode(record)) is None
    valid = QuotaRecord(at_ms=5, **{window: ((1, 0, 0), (2, 1 << 53, 1 << 53))})
    assert decode_record("key", encode(valid)) == valid
