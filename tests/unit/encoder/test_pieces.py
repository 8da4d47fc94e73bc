"""Long texts in pieces: nothing visible is lost, no piece is too long, anything can be cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.encoder.pieces import pieces


@given(st.text(max_size=3_000))
def test_h2_all_words_are_in_a_piece_and_none_is_too_long(text: str):
    found = pieces(text)
    assert found
    assert all(len(piece) <= 400 for piece in found)
    if text.isascii():
        assert "".join("".join(found).split()) == "".join(text.split())
    for piece in found:
        piece.encode()


def test_h2_a_text_is_cut_behind_a_sentence():
    sentence = "This is a sentence of some length about nothing. "
    assert all(piece.endswith("nothing.") for piece in pieces(sentence * 40))


@pytest.mark.parametrize("text", ["", " \n ", "\ud800", "x" * 100_000, "ﷺ" * 1_000, "\n" * 5_000])
def test_h2_hostile_texts_have_pieces_too(text: str):
    assert all(len(piece) <= 400 for piece in pieces(text))
