"""The provider's own list of attempts against the usage events: the same attempts, not only as many."""

from __future__ import annotations

from collections import Counter

from msgspec import Struct

from penstock.contract.events import UsageRecorded
from tests.harness.replies import until
from tests.harness.stored_events import stored_events, usage_count
from tests.harness.system import System

__all__ = ["AttemptAudit", "audit_attempts"]

_LOST = "worker_lost"


class AttemptAudit(Struct):
    """Attempts by name, `<request id>.<number>`; each as often as it came."""

    made: Counter[str]
    """As the provider saw them."""
    recorded: Counter[str]
    lost: set[str]
    """Recorded for a worker that died: whether the call had left it, nobody can know but the provider."""

    @property
    def never_sent(self) -> set[str]:
        return self.recorded.keys() - self.made.keys()

    def check(self) -> None:
        """F2: each attempt has a number and a usage event of its own; one without a call is a dead worker's."""
        assert set(self.made.values()) <= {1}, "two calls under one number"
        assert set(self.recorded.values()) <= {1}, "an attempt recorded twice"
        assert self.made.keys() <= self.recorded.keys(), "a call without a usage event"
        assert self.never_sent <= self.lost, "a usage event of an attempt that nobody made"
        assert len(self.recorded) == len(self.made) + len(self.never_sent)

    def __str__(self) -> str:
        return (
            f"provider attempts {self.made.total()}, usage events {self.recorded.total()}, "
            f"of them {len(self.lost)} for workers that died, {len(self.never_sent)} never sent"
        )


async def audit_attempts(system: System, ids: set[str]) -> AttemptAudit:
    """Of these requests, when no call is under way any more and no further usage event comes in."""

    async def idle() -> bool:
        models = (await system.sim("GET", "counts"))["models"].values()
        return not any(model["in_flight"] for model in models)

    await until(idle, 30, every_s=0.1)
    await usage_count(system, ids)
    made = [label for label in await system.sim("GET", "labels") if label.rpartition(".")[0] in ids]
    events = [event for event in await stored_events(system, UsageRecorded) if event.id in ids]
    names = {f"{event.id}.{event.attempt}": event.outcome for event in events}
    return AttemptAudit(
        made=Counter(made),
        recorded=Counter(f"{event.id}.{event.attempt}" for event in events),
        lost={name for name, outcome in names.items() if outcome == _LOST},
    )
