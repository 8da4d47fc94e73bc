"""Table columns line up in every script."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.cli.render.table import screen_width, shortened, table


def test_columns_line_up_in_russian_turkish_and_wide_letters():
    text = table(("what", "n"), [("Привет", "1"), ("çözüm", "22"), ("水車", "333")], right=frozenset({1}))

    assert {screen_width(line) for line in text.splitlines()} == {len("Привет  333")}
    assert text.splitlines()[-1].endswith("333")


def test_a_table_without_rows_is_its_titles():
    assert table(("a", "b"), []).splitlines() == ["a  b", "─  ─"]


@given(st.text(), st.integers(1, 30))
def test_shortened_text_fits_and_stays_on_one_line(text, columns):
    cut = shortened(text, columns)

    assert screen_width(cut) <= columns
    assert len(cut.splitlines()) <= 1
    if screen_width(" ".join(text.split())) > columns:
        assert cut.endswith("…")
