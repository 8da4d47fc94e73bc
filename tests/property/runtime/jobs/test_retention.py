"""E4: when there is no space, the oldest ended jobs of the account with the most of them are removed."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from penstock.runtime.jobs.retention import RemovableRecord, choose_removals, is_removable
from tests.property.runtime.jobs.test_transitions import QUEUED, completed, failed, running

records = st.lists(st.sampled_from("abc")).map(
    lambda accounts: [RemovableRecord(account, number) for number, account in enumerate(accounts, 1)]
)


@given(records, st.integers(0, 50))
def test_e4_the_account_with_most_records_loses_its_oldest(found: list[RemovableRecord], number: int):
    gone = choose_removals(found, number)
    assert len(gone) == len(set(gone)) == min(number, len(found))
    left = [each for each in found if each.sequence not in gone]
    counts = Counter(each.account for each in left)
    for each in found:
        if each.sequence in gone:
            assert all(other.sequence > each.sequence for other in left if other.account == each.account)
            assert counts[each.account] >= max(counts.values(), default=0) - 1


def test_e4_waiting_and_running_jobs_are_never_removed():
    day_ms = 86_400_000
    assert not is_removable(QUEUED, day_ms)
    assert not is_removable(running(1), day_ms)
    for end in (completed(1), failed(2)):
        assert not is_removable(end, end.at_ms + 59_999)
        assert is_removable(end, end.at_ms + 60_000)
    refused = replace(failed(1), attempt=0)
    assert is_removable(refused, refused.at_ms)
    assert is_removable(None, 0)
