"""The expiry cursor finds every expired message, wherever it waits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.router.expiry.cursor import SweepCursor

NOW_MS = 1_000_000


@given(
    expired=st.dictionaries(st.integers(1, 500), st.booleans(), max_size=60),
    batch=st.integers(2, 20),
)
def test_exactly_the_expired_messages_are_found(expired: dict[int, bool], batch: int) -> None:
    mailbox = dict(expired)
    cursor = SweepCursor(batch)
    for _ in range(2 * len(expired) + 2):
        reads, ended = 0, []
        while (wanted := cursor.next_sequence) is not None:
            found = min((sequence for sequence in mailbox if sequence >= wanted), default=None)
            if found is None:
                cursor.end()
                continue
            reads += 1
            is_expired = cursor.visit(found, 0 if mailbox[found] else NOW_MS, NOW_MS)
            assert is_expired == expired[found]
            if is_expired:
                ended.append(found)
        assert reads <= batch
        for sequence in ended:
            del mailbox[sequence]
        cursor.rotate()
    assert mailbox == {sequence: False for sequence, late in expired.items() if not late}
