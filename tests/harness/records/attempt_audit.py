"""Comparison of the provider's own list of attempts with the usage events, attempt by attempt."""

from __future__ import annotations

from collections import Counter

from msgspec import Struct

from penstock.contract.events import UsageRecorded
from tests.harness.processes.system import System
from tests.harness.records.stored_events import stored_events, usage_count
from tests.harness.suite.waiting import until

__all__ = ["AttemptAudit", "audit_attempts"]

_LOST = "worker_lost"


class AttemptAudit(Struct):
    """How often each attempt, named `<request id>.<number>`, was made and recorded."""

    made: Counter[str]
    """Calls that the provider received."""
    recorded: Counter[str]
    lost: set[str]
    """Attempts recorded for a killed worker; only the provider can show whether their calls were sent."""

    @property
    def never_sent(self) -> set[str]:
        return self.recorded.keys() - self.made.keys()

    def check(self) -> None:
        """F2: each attempt has its own number and usage event; a usage event without a call is a killed worker's."""
        assert set(self.made.values()) <= {1}, "two calls under one number"
        assert set(self.recorded.values()) <= {1}, "an attempt recorded twice"
        assert self.made.keys() <= self.recorded.keys(), "a call without a usage event"
        assert self.never_sent <= self.lost, "a usage event of an attempt that was never made"
        assert len(self.recorded) == len(self.made) + len(self.never_sent)

    def __str__(self) -> str:
        return (
            f"provider attempts {self.made.total()}, usage events {self.recorded.total()}, "
            f"of them {len(self.lost)} for killed workers, {len(self.never_sent)} never sent"
        )


async def audit_attempts(system: System, ids: set[str]) -> AttemptAudit:
    """Audit the attempts of these requests, once no call is in flight and no further usage event is stored."""

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
