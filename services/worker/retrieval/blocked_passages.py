"""Passages and earlier turns with a finding that the policy blocks: they are left out, and the request goes on."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from penstock.contract.guard.checks import Finding
from penstock.contract.guard.places import ContentPlace, LeftOut
from penstock.contract.retrieval.search import Passage
from services.worker.guard.request_guard import RequestGuard
from services.worker.retrieval.prompt import place_of_passage, place_of_turn, texts_of_passage, texts_of_turn
from services.worker.retrieval.retrieved import Found

__all__ = ["without_blocked"]


async def without_blocked(guard: RequestGuard, found: Found) -> Found:
    """What may be put before the model: all of it is checked at once, before anything leaves for a provider.

    Raises Refused where there is no verdict and the policy requires one.
    """
    texts = (*map(texts_of_passage, found.excerpts), *map(texts_of_turn, found.recalled))
    judged = await guard.judge_passages(texts)
    of_passages, of_turns = judged[: len(found.excerpts)], judged[len(found.excerpts) :]
    passages, turns = _kept(found.excerpts, of_passages), _kept(found.recalled, of_turns)
    left_out = (
        *_left_out([place_of_passage(0, each) for each in found.excerpts], of_passages),
        *_left_out([place_of_turn(0, each) for each in found.recalled], of_turns),
    )
    passed = [
        (place_of_passage(number, each), findings) for number, (each, findings) in enumerate(passages, 1)
    ]
    passed += [(place_of_turn(0, each), findings) for each, findings in turns]
    guard.note_passages(passed, left_out)
    return replace(
        found,
        excerpts=tuple(each for each, _ in passages),
        recalled=tuple(each for each, _ in turns),
        left_out=left_out,
    )


def _blocked(findings: Sequence[Finding]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.name for each in findings if each.action == "block"))


def _kept(
    excerpts: Sequence[Passage], judged: Sequence[Sequence[Finding]]
) -> list[tuple[Passage, Sequence[Finding]]]:
    return [
        (excerpt, findings)
        for excerpt, findings in zip(excerpts, judged, strict=True)
        if not _blocked(findings)
    ]


def _left_out(places: Sequence[ContentPlace], judged: Sequence[Sequence[Finding]]) -> list[LeftOut]:
    return [
        LeftOut(
            kind="turn" if place.kind == "turn" else "passage", name=place.name, findings=_blocked(findings)
        )
        for place, findings in zip(places, judged, strict=True)
        if _blocked(findings)
    ]
