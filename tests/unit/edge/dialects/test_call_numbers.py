"""E1: pieces of tool calls are put together as providers mean them, whatever they omit or repeat."""

from __future__ import annotations

import pytest

from services.edge.dialects.chat_choices import CallNumbers, ToolCall

Piece = tuple[int | None, str, str]
"""The index, the id and the name of a piece."""


@pytest.mark.parametrize(
    ("pieces", "numbers"),
    [
        ([(0, "a", "f"), (1, "b", "g"), (0, "", ""), (1, "", "")], [0, 1, 0, 1]),
        ([(0, "a", "f"), (0, "", ""), (0, "b", "g"), (0, "", "")], [0, 0, 1, 1]),
        ([(0, "", "f"), (0, "a", "f"), (0, "", "f"), (0, "x", "")], [0, 0, 0, 0]),
        ([(None, "a", "f"), (None, "b", "g"), (None, "a", ""), (None, "", "")], [0, 1, 0, 0]),
        ([(None, "", "f"), (None, "", ""), (None, "", "f"), (None, "", "")], [0, 0, 1, 1]),
    ],
    ids=["indices", "one index for all", "repeated names", "ids alone", "names alone"],
)
def test_e1_pieces_of_one_call_have_one_number(pieces: list[Piece], numbers: list[int]):
    calls = CallNumbers()
    assert [calls.of(ToolCall(*piece, arguments="")) for piece in pieces] == numbers
