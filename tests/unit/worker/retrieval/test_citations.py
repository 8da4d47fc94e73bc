"""H3: which numbers in an answer cite passages."""

from __future__ import annotations

import pytest

from services.worker.retrieval.citations import cited_numbers


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("It starts at noon [1].", {1}),
        ("It starts at noon.[2]", {2}),
        ("Two sources [1][3] agree.", {1, 3}),
        ("Two sources [1] [3] agree.", {1, 3}),
        ("Several [1, 2; 4] and [5].", {1, 2, 4, 5}),
        ("As in [1 and 3].", {1, 3}),
        ("A range [2-4] and another [4–5].", {2, 3, 4, 5}),
        ("水泵【1】和【2†来源】。", {1, 2}),
        ("Насос включается в полдень [3].", {3}),
        ("**[1]** and ([2])", {1, 2}),
        ("A footnote [^4].", {4}),
        ("[1] docs/pump.md", {1}),
        ("Beyond the passages [6], [0] and [2024].", set()),
        ("In rows[1] and rows[0][2], f(x)[3].", set()),
        ("A link [1](https://example.com/1).", set()),
        (r"TeX \[1\] and x_[2]", set()),
        ("Inline `see [1]` and ``a ` [2]`` code.", set()),
        ("```python\nvalues = [1]\n```\nbut [2]", {2}),
        ("An open block\n```\nvalues = [1]", set()),
        ('{"answer": "At noon [2].", "rows": [1, 3]}', {2}),
        ("[1, 2, 3]", set()),
        ("No citation at all.", set()),
        ("An empty [ ] and [a] and [1a].", set()),
    ],
)
def test_h3_numbers_in_brackets_are_citations(text: str, numbers: set[int]) -> None:
    assert cited_numbers(text, 5) == numbers


def test_h3_without_passages_nothing_is_cited() -> None:
    assert cited_numbers("As in [1].", 0) == frozenset()


def test_h3_long_answers_are_read_in_linear_time() -> None:
    text = "[1, " * 100_000 + "[1 - " * 50_000 + "`" * 50_001 + "[2]"
    assert cited_numbers(text, 5) <= {1, 2}
