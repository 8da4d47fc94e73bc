"""Passages that a search found, and the sources of an answer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from penstock.cli.render.counting import counted
from penstock.cli.render.table import shortened
from penstock.cli.render.terminal_safe import visible
from penstock.contract.guard.places import LeftOut
from penstock.contract.retrieval.search import Citation, Passage, RecalledTurns, SearchAnswer

__all__ = ["passages_text", "recalled_text", "sources_text"]

_TEXT_COLUMNS: Final = 280
_PLACE_COLUMNS: Final = 96
_NAME_COLUMNS: Final = 40
_ORDER: Final = "; ordered by meaning and words, not by similarity alone"


def passages_text(answer: SearchAnswer) -> str:
    """The best first, each with its place and the beginning of its text."""
    if not answer.passages:
        return "No passage was found."
    known = bool(answer.model)
    parts = [
        f"{number}. {_place(passage, has_score=known)}\n"
        f"   {shortened(visible(passage.text, lines=True), _TEXT_COLUMNS)}"
        for number, passage in enumerate(answer.passages, 1)
    ]
    model = f", vectors of {visible(answer.model)}" if answer.model else ""
    order = _ORDER if known and _is_ordered_otherwise(answer.passages) else ""
    return "\n".join((*parts, f"[{len(answer.passages)} found in {answer.took_ms:.0f} ms{model}{order}]"))


def sources_text(citations: Sequence[Citation], left_out: Sequence[LeftOut] = ()) -> str:
    """The passages that the model was given, in their order; `*` marks those that the answer refers to. `left_out`: by
    the safety guard.
    """
    if not citations and any(each.kind == "passage" for each in left_out):
        return "Sources: none. The safety guard left out all passages that were found."
    if not citations:
        return "Sources: none. No passage of the collection fits the question and the filters."
    lines = [
        f"{'*' if citation.cited else ' '} [{citation.number}] {_place(citation)}" for citation in citations
    ]
    cited = sum(citation.cited for citation in citations)
    note = "* cited in the answer" if cited else "the answer cites none of them"
    if _is_ordered_otherwise(citations):
        note += _ORDER
    return "\n".join((f"Sources ({note}):", *lines))


def recalled_text(recalled: Sequence[RecalledTurns]) -> str:
    """The earlier turns that the model was given, by conversation."""
    parts = (
        f"{counted(each.turns, 'turn')} of {shortened(visible(each.conversation), _NAME_COLUMNS)}"
        for each in recalled
    )
    return f"Recalled: {', '.join(parts)}."


def _place(found: Passage | Citation, *, has_score: bool = True) -> str:
    """The document, headings above the passage and its page, with the similarity to the question if it is known."""
    source = found.source or found.document
    parts = [source if source == found.document else f"{found.document} ({source})"]
    if found.heading:
        parts.append(found.heading)
    elif found.title and found.title != found.document:
        parts.append(found.title)
    if found.page is not None:
        parts.append(f"page {found.page}")
    similarity = f"similarity {found.score:.2f}" if has_score else "-"
    return f"{shortened(visible(' · '.join(parts)), _PLACE_COLUMNS)}  {similarity}"


def _is_ordered_otherwise(found: Sequence[Passage | Citation]) -> bool:
    """A passage stands before one of higher similarity, as a search by words puts it."""
    return any(before.score < after.score for before, after in pairwise(found))
