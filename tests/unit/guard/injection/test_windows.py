"""G1: the windows of texts, and those that are left out of long ones."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services.guard.injection.model import WIDTH_CHARACTERS
from services.guard.injection.windows import OVERLAP_CHARACTERS, Window, chosen, windows_of

texts = st.lists(st.sampled_from(["word ", "end. ", "\n", "x" * 300, "»  "]), max_size=60).map("".join)


@given(texts)
def test_g1_windows_cover_the_text_overlap_and_are_bounded(text: str) -> None:
    windows = list(windows_of(3, text))
    assert all(window.text == 3 and 0 < window.characters <= WIDTH_CHARACTERS for window in windows)
    assert (windows[0].start if windows else 0) == 0
    assert (windows[-1].end if windows else 0) == len(text)
    for before, after in pairwise(windows):
        assert before.end - after.start == OVERLAP_CHARACTERS
        assert after.end > before.end


def test_g1_a_window_ends_at_a_sentence() -> None:
    text = "a" * 350 + ". " + "b" * 700
    assert next(text[window.start : window.end][-2:] for window in windows_of(0, text)) == ". "


@given(
    st.lists(st.tuples(st.integers(1, WIDTH_CHARACTERS), st.floats(-5, 5)), max_size=80),
    st.integers(WIDTH_CHARACTERS, 20_000),
)
def test_g1_the_most_suspicious_windows_are_chosen_within_the_bound(
    parts: list[tuple[int, float]], most: int
) -> None:
    windows = [Window(0, n * 1_000, n * 1_000 + size) for n, (size, _) in enumerate(parts)]
    suspicion = [rate for _, rate in parts]
    found = chosen(windows, suspicion, most)
    assert found == sorted(found, key=lambda window: window.start)
    assert sum(window.characters for window in found) <= most
    taken = {window.start // 1_000 for window in found}
    left = set(range(len(parts))) - taken
    assert not taken or not left or min(suspicion[n] for n in taken) >= max(suspicion[n] for n in left)
