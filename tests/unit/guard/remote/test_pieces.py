from __future__ import annotations

from itertools import pairwise

from penstock.contract.guard.checks import CheckedText
from services.guard.remote.pieces import pieces_of
from services.guard.remote.rater import Piece


def test_g1_each_text_is_a_piece_with_the_side_that_wrote_it():
    texts = [
        CheckedText(text="rules", origin="system"),
        CheckedText(text="ask"),
        CheckedText(text="answer", origin="assistant"),
        CheckedText(text=" \n", origin="tool"),
        CheckedText(text="more", origin="output"),
    ]
    assert list(pieces_of(texts, 100)) == [
        (0, Piece("rules")),
        (1, Piece("ask")),
        (2, Piece("answer", by_model=True)),
        (4, Piece("more", by_model=True)),
    ]


def test_g3_context_is_cut_and_a_text_of_context_only_is_left_out():
    texts = [
        CheckedText(text="c" * 1_000 + "new", start=1_000),
        CheckedText(text="only context", start=12),
    ]
    assert list(pieces_of(texts, 5_000)) == [(0, Piece("c" * 256 + "new"))]


def test_g1_a_long_text_is_cut_with_an_overlap():
    text = "".join(chr(0x4E00 + number) for number in range(2_500))
    pieces = [piece.text for _, piece in pieces_of([CheckedText(text=text)], 1_000)]
    assert [len(piece) for piece in pieces] == [1_000, 1_000, 1_000, 268]
    assert all(before[-256:] == after[:256] for before, after in pairwise(pieces))
    assert pieces[0] + "".join(piece[256:] for piece in pieces[1:]) == text
