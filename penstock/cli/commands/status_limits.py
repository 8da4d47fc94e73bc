"""What the workers say of their limits, as one: a limit that they share is one limit (REQUIREMENTS C7)."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct, structs

from penstock.contract.presence import LearnedLimit, LimitPast, LimitStatus, Presence

__all__ = ["Learned", "Seen", "learned_limits", "merged"]


class Seen(Struct, frozen=True):
    worker: str
    """Who counts it for itself; empty: all workers share it."""
    status: LimitStatus


class Learned(Struct, frozen=True, kw_only=True):
    """A limit that the catalogue does not name, learnt from the provider's refusals."""

    credential: str
    model: str
    requests_per_minute: int
    kind: str
    write: str
    """What to write into the catalogue, at the model."""


def learned_limits(alive: Sequence[Presence]) -> list[Learned]:
    """One per key and model: of workers that each learn for themselves, the one that found most."""
    found: dict[tuple[str, str], LearnedLimit] = {}
    for limit in (limit for presence in alive for limit in presence.learned):
        place = (limit.model, limit.credential)
        if place not in found or found[place].requests_per_minute < limit.requests_per_minute:
            found[place] = limit
    return [
        Learned(
            credential=limit.credential,
            model=limit.model,
            requests_per_minute=limit.requests_per_minute,
            kind=limit.kind,
            write=_catalogue_line(limit),
        )
        for _, limit in sorted(found.items())
    ]


def _catalogue_line(limit: LearnedLimit) -> str:
    figures = [f"requests_per_minute: {limit.requests_per_minute}"]
    if limit.tokens_per_minute is not None:
        figures.append(f"tokens_per_minute: {limit.tokens_per_minute}")
    if limit.kind != "window":
        figures.append(f"kind: {limit.kind}")
    return f"limits: {{{', '.join(figures)}}}"


def merged(alive: Sequence[Presence]) -> list[Seen]:
    """One per limit of a shared quota, as who has watched it longest sees it, with all workers' held-back requests; and
    one per worker of those that each counts for itself.
    """
    found: list[Seen] = []
    shared: dict[tuple[str, str], dict[str, LimitStatus]] = {}
    for presence in alive:
        for status in presence.limits:
            if status.record:
                # Keys that share a quota stand beside each other in one worker, and say the same.
                shared.setdefault((status.record, status.limit), {}).setdefault(presence.instance, status)
            else:
                found.append(Seen(presence.instance, status))
    return [*found, *(Seen("", _together(list(told.values()))) for told in shared.values())]


def _together(told: Sequence[LimitStatus]) -> LimitStatus:
    longest = max(told, key=lambda status: status.watched_s)
    return structs.replace(
        longest,
        used=max(status.used for status in told),
        warned=any(status.warned for status in told),
        hour=_past([status.hour for status in told]),
        day=_past([status.day for status in told]),
    )


def _past(told: Sequence[LimitPast]) -> LimitPast:
    """Time is the same for all, and who watched longer saw more of it; requests are each worker's own."""
    return LimitPast(
        near_s=max(past.near_s for past in told),
        full_s=max(past.full_s for past in told),
        missed=sum(past.missed for past in told),
        peak=max(past.peak for past in told),
        unmet=sum(past.unmet for past in told),
    )
