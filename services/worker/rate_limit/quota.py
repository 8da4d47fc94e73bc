"""What may still be used of each (credential, model), and who may go now (REQUIREMENTS C1, C4).

`Quota` is the interface the ladder knows; `LocalQuota` keeps the counts of this process alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Protocol

from msgspec import Struct

from penstock.contract.names import Lane
from penstock.contract.quota import QuotaLearned
from penstock.runtime.config.catalogue import Batch, Limits
from services.worker.rate_limit.batch_reserve import BatchReserve
from services.worker.rate_limit.forecast import Forecast
from services.worker.rate_limit.learned.rate import Refusal
from services.worker.rate_limit.limit import Observation
from services.worker.rate_limit.limit_set import LimitName, LimitSet, LimitUse

__all__ = ["Denied", "LimitUse", "LocalQuota", "Need", "Observation", "Permit", "Quota", "QuotaKey"]


class QuotaKey(Struct, frozen=True):
    """What a limit belongs to, whichever role or replica uses it."""

    credential: str
    """The name of the credential, never its secret."""
    model: str


class Need(Struct, frozen=True):
    """One request and its estimated tokens, input and output together."""

    tokens: int
    lane: Lane = "interactive"
    """batch: a share of the limits has to stay free for the interactive lane (C6)."""
    waiter: int = 0
    """The request, by its number in this worker: until it has a permit or withdraws, others may wait behind it.
    0: it does not say, and cannot withdraw.
    """

    def __post_init__(self) -> None:
        if self.tokens < 0:
            raise ValueError(f"a need of {self.tokens} tokens")


class Permit(Struct, frozen=True):
    """Leave for one provider call. Give it back through `Quota.settle`, however the call record_end."""

    key: QuotaKey
    tokens: int
    """What was charged for it."""
    number: int
    """Tells the permits of one `Quota` apart."""


class Denied(Struct, frozen=True):
    """Not now, and nothing was charged."""

    retry_at_s: float
    """When to ask again; infinite if `never`. Sooner is no error: a call that ends may give tokens back."""
    limit: LimitName
    """What stands in the way; of several, the one that lasts longest."""
    never: bool = False
    """No wait helps: the need is larger than the whole limit."""
    leasing: bool = False
    """There is room as far as is known, only not in hand: it will be in a moment."""
    why: str = ""
    """The words given to `Quota.pause`, while paused."""


class Quota(Protocol):
    """All instants are monotonic seconds; one that lies before an earlier one counts as the earlier one.
    A key that is not configured raises KeyError.
    """

    @property
    def out_of_reach(self) -> tuple[str, ...]:
        """Shared records that cannot be reached: a static share is used instead."""

    def try_acquire(self, key: QuotaKey, need: Need, now_s: float) -> Permit | Denied:
        """Charge one request and its tokens to every limit, or none of them.

        Who is refused may stand in line from then on, until it gets its permit or `withdraw` is called for it.
        """

    def withdraw(self, waiter: int) -> None:
        """The request waits no longer for what it was refused, whatever became of it. Again changes nothing."""

    def wait_s(self, key: QuotaKey, need: Need, now_s: float) -> float:
        """Seconds until `need` would be admitted, as far as is known: 0 now, infinite never. Charges nothing."""

    def settle(self, permit: Permit, true_tokens: int, now_s: float) -> None:
        """The call is over. Tokens not used are given back, those above the estimate are charged now, and
        the place among the concurrent calls is free. A second time changes nothing.
        """

    def pause(self, key: QuotaKey, until_s: float, why: str) -> None:
        """A 429: admit nothing before `until_s`. A shorter pause does not shorten a longer one."""

    def refused(self, key: QuotaKey, retry_after_s: float | None, began_s: float, now_s: float) -> None:
        """A 429 to a call that began at `began_s`: where no limit is configured, the rate is learned from it."""

    def learned(self, key: QuotaKey, now_s: float) -> QuotaLearned | None:
        """What was learned of a limit that is not configured; None: nothing, or it is configured."""

    def correct(self, key: QuotaKey, observation: Observation, now_s: float) -> None:
        """Lower what is believed to be left to what the provider says is left. Never raises it above what
        our own limit and counts leave; ignored where no limit of ours is configured.
        """

    def usage(self, key: QuotaKey, now_s: float) -> tuple[LimitUse, ...]:
        """Each configured limit and how much of it is taken (C7)."""

    def forecast(self, key: QuotaKey, now_s: float) -> Forecast:
        """When how much of each limit will be free, if nothing more is spent; by this the router admits (C3)."""

    def blocking_limit(self, key: QuotaKey, need: Need, now_s: float) -> LimitName | None:
        """Which limit keeps `need` from being admitted now; None: none that is known, or a pause. Charges nothing."""

    def record(self, key: QuotaKey) -> str:
        """Under which name in `llm_quota` all workers share it; empty: this process counts for itself."""


class LocalQuota:
    """The limits as this process sees them: right for a single worker, or for its share of them."""

    out_of_reach: tuple[str, ...] = ()
    """It shares nothing."""

    def __init__(
        self,
        limits: Mapping[QuotaKey, Limits],
        records: Mapping[QuotaKey, str] | None = None,
        *,
        batch: Batch,
        number_step: int = 1,
    ) -> None:
        """`records`: keys of the same record share one quota; None: each has its own. `batch`: what that lane leaves
        to the other one. `number_step`: between the numbers of permits.
        """
        limit_sets: dict[QuotaKey | str, LimitSet] = {}
        reserves: dict[QuotaKey | str, BatchReserve] = {}
        self._limit_sets: dict[QuotaKey, LimitSet] = {}
        self._reserves: dict[QuotaKey, BatchReserve] = {}
        for key, each in limits.items():
            owner = key if records is None else records[key]
            self._limit_sets[key] = limit_sets.setdefault(owner, LimitSet(each, number_step))
            self._reserves[key] = reserves.setdefault(owner, BatchReserve(batch))

    def try_acquire(self, key: QuotaKey, need: Need, now_s: float) -> Permit | Denied:
        limit_set = self._limit_sets[key]
        number = limit_set.admit(need.tokens, now_s, self._reserve(key, need, now_s))
        if number is None:
            at_s, limit = self._blocking_limit(key, need, now_s)
            why = limit_set.pause_reason if limit == "paused" else ""
            return Denied(at_s, limit, never=at_s == inf, why=why)
        if need.lane == "batch":
            self._reserves[key].record_start(now_s)
        return Permit(key, need.tokens, number)

    def withdraw(self, waiter: int) -> None:
        """Nobody stands in line here."""

    def wait_s(self, key: QuotaKey, need: Need, now_s: float) -> float:
        if self._limit_sets[key].fits(need.tokens, now_s, self._reserve(key, need, now_s)):
            return 0.0
        return max(0.0, self._blocking_limit(key, need, now_s)[0] - now_s)

    def settle(self, permit: Permit, true_tokens: int, now_s: float) -> None:
        self._limit_sets[permit.key].settle(permit.number, true_tokens, now_s)

    def pause(self, key: QuotaKey, until_s: float, why: str) -> None:
        self._limit_sets[key].pause(until_s, why)

    def refused(self, key: QuotaKey, retry_after_s: float | None, began_s: float, now_s: float) -> None:
        self._limit_sets[key].refused(retry_after_s, began_s, now_s)

    def refusal(self, key: QuotaKey, retry_after_s: float | None, began_s: float, now_s: float) -> Refusal:
        """What `refused` would learn from, for the shared record to learn it. Not of limits that are configured."""
        learned = self._limit_sets[key].learned
        assert learned is not None  # noqa: S101 - as it says
        return learned.refusal(retry_after_s, began_s, now_s)

    def last_refusal(self, key: QuotaKey, now_s: float) -> tuple[float, int] | None:
        """Of what is not configured: when the call began that was refused lately, and how many were admitted before."""
        learned = self._limit_sets[key].learned
        return None if learned is None else learned.last_refusal(now_s)

    def learned_elsewhere(self, key: QuotaKey) -> None:
        learned = self._limit_sets[key].learned
        if learned is not None:
            learned.learned_elsewhere()

    def learned(self, key: QuotaKey, now_s: float) -> QuotaLearned | None:
        learned = self._limit_sets[key].learned
        return None if learned is None else learned.known(now_s)

    def correct(self, key: QuotaKey, observation: Observation, now_s: float) -> None:
        self._limit_sets[key].observe(observation, now_s)

    def usage(self, key: QuotaKey, now_s: float) -> tuple[LimitUse, ...]:
        return self._limit_sets[key].usage(now_s)

    def forecast(self, key: QuotaKey, now_s: float) -> Forecast:
        return self._limit_sets[key].forecast(now_s)

    def blocking_limit(self, key: QuotaKey, need: Need, now_s: float) -> LimitName | None:
        if self.wait_s(key, need, now_s) == 0:
            return None
        limit = self._blocking_limit(key, need, now_s)[1]
        is_learned = self._limit_sets[key].learned is not None
        return None if limit == "paused" or is_learned else limit

    def record(self, key: QuotaKey) -> str:  # noqa: ARG002 - as its sibling
        return ""

    def _reserve(self, key: QuotaKey, need: Need, now_s: float) -> float:
        return self._reserves[key].reserve(now_s) if need.lane == "batch" else 0.0

    def _blocking_limit(self, key: QuotaKey, need: Need, now_s: float) -> tuple[float, LimitName]:
        """When to ask again. Behind the reserve that is no later than when the lane's patience ends."""
        limit_set = self._limit_sets[key]
        bare = limit_set.blocking_limit(need.tokens, now_s)
        reserve = self._reserve(key, need, now_s)
        if not reserve or bare[0] == inf:
            return bare
        at_s, limit = limit_set.blocking_limit(need.tokens, now_s, reserve)
        return max(min(at_s, self._reserves[key].due_at_s(now_s)), bare[0]), limit
