"""What a worker's news change in the limit that a record has learned from a provider's refusals (decision 0018)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from penstock.contract.quota import Grain, QuotaLearned
from services.worker.rate_limit.learned.rate import Refusal, alive, dropped, learned_from, plausible, refused
from services.worker.rate_limit.record.window import GrainedWindow, Kind

__all__ = ["with_reports"]


def with_reports(
    known: QuotaLearned | None,
    spent: Iterable[Grain],
    refusals: Iterable[Refusal],
    said: Mapping[Kind, int],
    span: GrainedWindow,
    now_ms: int,
) -> QuotaLearned | None:
    """`spent`: calls that were made, by grain; `said`: limits per minute in the provider's headers."""
    if dropped(known, now_ms):
        return known
    found = known if alive(known, now_ms) else None
    if found is not None:
        since = span.grain(found.measured_from_ms)
        found = replace(found, calls=found.calls + sum(grain[1] for grain in spent if grain[0] >= since))
    for refusal in refusals:
        found = learned_from(refusal) if found is None else refused(found, refusal)
    if found is not None and said:
        found = replace(
            found,
            said_per_minute=_said(found, said),
            tokens_per_minute=said.get("tokens", found.tokens_per_minute),
        )
    return found


def _said(found: QuotaLearned, said: Mapping[Kind, int]) -> int | None:
    requests = said.get("requests")
    return found.said_per_minute if requests is None or not plausible(found, requests) else requests
