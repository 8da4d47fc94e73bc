"""Which passages are put before the model: inside a token budget, without duplicates, neighbours joined."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from msgspec.structs import replace

from penstock.contract.retrieval.search import Passage
from penstock.runtime.tokens import text_tokens

__all__ = ["count_tokens", "excerpts_of", "whole_documents"]

_PIECE_CHARACTERS: Final = 32_768
"""Longer texts are counted in pieces of this length: an estimate by samples would differ each time."""
_GAP_CHARACTERS: Final = 4
"""Characters between two chunks that follow each other: white space that belongs to neither."""
_HEADING_SEPARATOR: Final = " > "
_SHORTEST_CUT: Final = 80
"""A passage is not cut to fewer characters."""

Cost = Callable[[Passage], int]
"""Tokens of an excerpt as the model gets it: a passage, or several of one document that follow each other."""


def count_tokens(text: str) -> int:
    """Estimated tokens: the same for the same text."""
    pieces = range(0, len(text), _PIECE_CHARACTERS)
    return math.ceil(sum(text_tokens(text[at : at + _PIECE_CHARACTERS]) for at in pieces))


def excerpts_of(
    passages: Sequence[Passage], *, most: int, min_score: float, budget_tokens: int, cost: Cost
) -> tuple[Passage, ...]:
    """The best of `passages` inside the budget, the best first. `passages`: the best first, at most `most` are used.

    A passage that does not fit is left out, and a shorter one may follow; only the first one is cut.
    """
    kept: list[Passage] = []
    left, seen = budget_tokens, set[str]()
    for excerpt in _usable(passages, most, min_score):
        words = " ".join(excerpt.text.split())
        if words in seen:
            continue
        fitting = excerpt if cost(excerpt) <= left else None
        if fitting is None and not kept:
            fitting = _cut(excerpt, left, cost)
        if fitting is not None:
            seen.add(words)
            kept.append(fitting)
            left -= cost(fitting)
    return _within(_joined(kept), budget_tokens, cost)


def whole_documents(
    passages: Sequence[Passage], *, budget_tokens: int, cost: Cost
) -> tuple[Passage, ...] | None:
    """All passages, each document joined, in an order of their own, the same text once; None if they exceed the
    budget.
    """
    ordered = sorted(
        map(_excerpt, passages), key=lambda each: (each.document, each.start, each.end, each.chunk)
    )
    by_text: dict[str, Passage] = {}
    for excerpt in _joined([each for each in ordered if each.text.strip()]):
        by_text.setdefault(" ".join(excerpt.text.split()), excerpt)
    excerpts = tuple(by_text.values())
    return excerpts if sum(map(cost, excerpts)) <= budget_tokens else None


def _usable(passages: Sequence[Passage], most: int, min_score: float) -> Iterable[Passage]:
    for passage in passages[:most]:
        excerpt = _excerpt(passage)
        if excerpt.text.strip() and excerpt.score >= min_score:
            yield excerpt


def _excerpt(passage: Passage) -> Passage:
    score = passage.score if math.isfinite(passage.score) else 0.0
    return replace(passage, score=min(1.0, max(0.0, score)))


def _cut(excerpt: Passage, budget_tokens: int, cost: Cost) -> Passage | None:
    """The longest beginning that fits, up to the end of a word."""
    low, high = 0, len(excerpt.text)
    while low < high:
        middle = (low + high + 1) // 2
        if cost(_beginning(excerpt, middle)) <= budget_tokens:
            low = middle
        else:
            high = middle - 1
    cut = _beginning(excerpt, low)
    last = max(cut.text.rfind(" "), cut.text.rfind("\n"))
    if last > low // 2:
        cut = _beginning(excerpt, last)
    return cut if len(cut.text) >= _SHORTEST_CUT and cost(cut) <= budget_tokens else None


def _beginning(excerpt: Passage, characters: int) -> Passage:
    return replace(excerpt, text=excerpt.text[:characters], end=min(excerpt.end, excerpt.start + characters))


def _joined(excerpts: Sequence[Passage]) -> tuple[Passage, ...]:
    """Excerpts of one document that follow each other as one, at the place of the first of them."""
    order = {
        (excerpt.document, excerpt.chunk): position
        for position, excerpt in reversed(list(enumerate(excerpts)))
    }
    by_document: dict[str, list[Passage]] = {}
    for excerpt in excerpts:
        by_document.setdefault(excerpt.document, []).append(excerpt)
    found: list[tuple[int, Passage]] = []
    for of_document in by_document.values():
        for excerpt in sorted(of_document, key=lambda each: (each.start, each.end)):
            place = order[excerpt.document, excerpt.chunk]
            both = (
                _join(found[-1][1], excerpt) if found and found[-1][1].document == excerpt.document else None
            )
            if both is None:
                found.append((place, excerpt))
            else:
                found[-1] = min(found[-1][0], place), both
    return tuple(excerpt for _, excerpt in sorted(found, key=lambda each: each[0]))


def _join(first: Passage, second: Passage) -> Passage | None:
    """None if the second does not follow the first on its page, or their texts do not agree with their places."""
    if first.page != second.page:
        return None
    if second.end <= first.end and second.text in first.text:
        text = first.text
    elif first.start <= second.start <= first.end < second.end:
        common = first.end - second.start
        if not first.text.endswith(second.text[:common]):
            return None
        text = first.text + second.text[common:]
    elif 0 < second.start - first.end <= _GAP_CHARACTERS:
        text = f"{first.text}\n{second.text}"
    else:
        return None
    best = first if first.score >= second.score else second
    return replace(
        best,
        text=text,
        heading=_common_heading(first.heading, second.heading),
        page=first.page,
        start=first.start,
        end=max(first.end, second.end),
    )


def _common_heading(first: str, second: str) -> str:
    common: list[str] = []
    for one, other in zip(first.split(_HEADING_SEPARATOR), second.split(_HEADING_SEPARATOR), strict=False):
        if one != other:
            break
        common.append(one)
    return _HEADING_SEPARATOR.join(common)


def _within(excerpts: tuple[Passage, ...], budget_tokens: int, cost: Cost) -> tuple[Passage, ...]:
    """The first of them whose tokens together are inside the budget."""
    left = budget_tokens
    for position, excerpt in enumerate(excerpts):
        left -= cost(excerpt)
        if left < 0:
            return excerpts[:position]
    return excerpts
