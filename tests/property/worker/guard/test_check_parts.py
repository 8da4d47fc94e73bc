"""G1: texts of any length are checked in pieces that cover them, and a value at a cut is found whole and once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.contract.codec import encode
from penstock.contract.guard.checks import (
    MAX_CHECK_BYTES,
    MAX_CHECK_TEXTS,
    TEXT_OVERHEAD_BYTES,
    CheckedText,
    Finding,
    GuardCheck,
)
from penstock.contract.streams import MAX_PAYLOAD_BYTES
from penstock.runtime.guard.joined_findings import joined
from services.worker.guard.check_parts import Part, parts_of, placed

LIMIT = 4_000
pieces_of_text = st.text(st.sampled_from("ab \nж😀"), max_size=60).map(lambda piece: piece * 200)


def found_in(part: Part, value: str) -> list[Finding]:
    """What a detector of `value` reports."""
    text = part.checked.text
    start = text.find(value)
    if start < 0:
        return []
    return [Finding(start=start, end=start + len(value), category="secrets", detector="secrets")]


@given(texts=st.lists(pieces_of_text, max_size=6))
def test_g1_every_text_is_covered_in_order_by_checks_of_bounded_size(texts: list[str]) -> None:
    checks = list(parts_of([CheckedText(text=text) for text in texts], LIMIT))
    covered = [0] * len(texts)
    last = (0, 0)
    for check in checks:
        assert sum(len(part.checked.text.encode()) + TEXT_OVERHEAD_BYTES for part in check) <= LIMIT
        for part in check:
            assert (part.text, part.offset) >= last
            last = (part.text, part.offset)
            assert part.offset <= covered[part.text]
            end = part.offset + len(part.checked.text)
            assert texts[part.text][part.offset : end] == part.checked.text
            covered[part.text] = max(covered[part.text], end)
    assert covered == list(map(len, texts))


@given(before=st.integers(0, 9_000), filler=st.sampled_from(["x", "a b ", "line\n", "ж"]))
def test_g1_a_value_at_any_place_is_found_whole_and_once(before: int, filler: str) -> None:
    value = "KEY-" + "7" * 60
    start = before - before % len(filler)
    text = filler * (start // len(filler)) + value + filler * 2_000
    parts = [part for check in parts_of([CheckedText(text=text)], LIMIT) for part in check]
    found = joined(placed(part, each) for part in parts for each in found_in(part, value))
    assert [(each.text, each.start, each.end) for each in found] == [(0, start, start + len(value))]


@pytest.mark.parametrize("sizes", [[10, 20], [MAX_CHECK_BYTES - TEXT_OVERHEAD_BYTES], []])
def test_g1_texts_that_fit_are_one_check_without_copies(sizes: list[int]) -> None:
    texts = [CheckedText(text="x" * size) for size in sizes]
    checks = list(parts_of(texts))
    assert [part.checked for check in checks for part in check] == texts
    assert len(checks) == bool(sizes)


def test_g1_checks_of_many_tiny_texts_or_of_control_characters_fit_into_a_message() -> None:
    tiny = [CheckedText(text="\x01", origin="assistant")] * 60_000
    long = CheckedText(text="\x01" * (3 * MAX_CHECK_BYTES))
    checks = list(parts_of([*tiny, long]))
    assert sum(map(len, checks)) == 60_000 + 4
    for check in checks:
        texts = tuple(part.checked for part in check)
        assert len(texts) <= MAX_CHECK_TEXTS
        assert len(encode(GuardCheck(id="r", account="a", texts=texts))) < MAX_PAYLOAD_BYTES


def test_g1_overlapping_findings_become_one_of_the_longest_kind() -> None:
    def of(start: int, end: int, kind: str, text: int = 0) -> Finding:
        return Finding(
            text=text, start=start, end=end, category="personal_data", kind=kind, detector="personal_data"
        )

    found = joined([of(5, 9, "phone"), of(0, 6, "payment_card"), of(0, 6, "email", 1), of(9, 12, "iban")])
    assert [(each.text, each.start, each.end, each.kind) for each in found] == [
        (0, 0, 9, "payment_card"),
        (0, 9, 12, "iban"),
        (1, 0, 6, "email"),
    ]
