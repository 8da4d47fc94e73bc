"""C4: a record with a learned limit is decoded, also if its measurement began before the record."""

from __future__ import annotations

from penstock.contract.codec import encode
from penstock.contract.quota import QuotaLearned, QuotaRecord
from services.worker.rate_limit.record.decode import decode_record


def test_c4_a_measurement_begun_before_the_record_is_valid() -> None:
    learned = QuotaLearned(per_minute=120.0, measured_from_ms=-59_000, grows_from_ms=-10, refused_ms=-5)
    record = QuotaRecord(at_ms=2_000, learned=learned)
    assert decode_record("provider.model", encode(record)) == record
