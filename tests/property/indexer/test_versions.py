"""H1: versions keep the order of requests and are exact in JSON."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from services.indexer.store.versions import version_at

EPOCH_MS = 1_704_067_200_000
TIMES = st.integers(min_value=EPOCH_MS + 1, max_value=EPOCH_MS + 2**41 - 1)
"""The first millisecond shares the lowest version with all times before it."""
SEQUENCES = st.integers(min_value=1, max_value=2**63 - 1)


@given(unix_ms=st.integers(min_value=1, max_value=2**62), sequence=SEQUENCES)
def test_h1_a_version_is_exact_as_a_float(unix_ms: int, sequence: int):
    version = version_at(unix_ms, sequence)
    assert 1 <= version < 2**53
    assert int(float(version)) == version
    assert int(float(version + 1)) == version + 1


@given(first=st.tuples(TIMES, SEQUENCES), second=st.tuples(TIMES, SEQUENCES))
def test_h1_a_later_millisecond_has_a_higher_version_whatever_the_sequence(
    first: tuple[int, int], second: tuple[int, int]
):
    if first[0] < second[0]:
        assert version_at(*first) < version_at(*second)


@given(unix_ms=TIMES, block=st.integers(0, 2**40), pair=st.tuples(st.integers(0, 4095), st.integers(0, 4095)))
@example(unix_ms=EPOCH_MS + 1, block=0, pair=(0, 1))
def test_h1_in_one_millisecond_the_sequence_decides(unix_ms: int, block: int, pair: tuple[int, int]):
    low, high = sorted(pair)
    versions = [version_at(unix_ms, block * 4_096 + each) for each in (low, high)]
    assert (versions[0] < versions[1]) == (low < high)
