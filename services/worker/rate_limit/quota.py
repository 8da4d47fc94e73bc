"""How much of each (credential, model) is left, and whether a request may go now (C1, C4).

`Quota` is the interface that the execution of requests uses; `LocalQuota` counts for this process alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Final, Protocol

from msgspec import Struct

from penstock.contract.names import Lane
from penstock.contract.quota import QuotaLearned
from penstock.runtime.config.catalogue import Batch, Limits
from services.worker.rate_limit.batch_reserve import BatchReserve
from services.worker.rate_limit.learned.rate import Refusal
from services.worker.rate_limit.limit import LimitName, Observation
from services.worker.rate_limit.limit_set import LimitSet, LimitUse
from services.worker.rate_limit.quota_forecast import KeyForecast

__all__ = ["Denied", "LimitUse", "LocalQuota", "Need", "Observation", "Permit", "Quota", "QuotaKey"]


class QuotaKey(Struct, frozen=True):
    """Owner of a limit, whichever role or replica uses it."""

    credential: str
    """The name of the credential, never its secret."""
    model: str


class Need(Struct, frozen=True):
    """One request and its estimated tokens, input and output together."""

    tokens: int
    lane: Lane = "interactive"
    """batch: a share of the limits has to stay free for the interactive lane (C6)."""
    waiter: int = 0
    """Number of the request in this worker. Until it has a permit or withdraws, other requests may wait behind it.
    0: unnamed; it cannot withdraw.
    """

    def __post_init__(self) -> None:
        if self.tokens < 0:
            raise ValueError(f"{self.tokens} is not a valid number of tokens")


class Permit(Struct, frozen=True):
    """Permission for one provider call. Return it through `Quota.settle`, however the call ended."""

    key: QuotaKey
    tokens: int
    """What was charged for it."""
    number: int
    """Identifies the permit within one `Quota`."""


class Denied(Struct, frozen=True):
    """The request may not go now, and nothing was charged."""

    leasing: bool = False
    """The record has room as far as is known, and a lease has been requested."""


_DENIED: Final = Denied()


class Quota(Protocol):
    """All instants are monotonic seconds; one that lies before an earlier one counts as the earlier one.
    A key that is not configured raises KeyError.
    """

    @property
    def unreachable_records(self) -> tuple[str, ...]:
        """Names of the shared records that cannot be reached: their requests wait."""

    def try_acquire(self, key: QuotaKey, need: Need, now_s: float) -> Permit | Denied:
        """Charge one request and its tokens to every limit, or to none of them.

        A denied request may be queued until it gets a permit or `withdraw` is called for it.
        """

    def withdraw(self, waiter: int) -> None:
        """Remove a request from every queue it waits in. A second call changes nothing."""

    def wait_s(self, key: QuotaKey, need: Need, now_s: float) -> float:
        """Seconds until `need` would be admitted, as far as is known: 0 now, infinite never. Charges nothing."""

    def settle(self, permit: Permit, true_tokens: int, now_s: float) -> None:
        """End a call. Tokens not used are returned, those above the estimate are charged now, and the slot among the
        concurrent calls is free. A second call changes nothing.
        """

    def pause(self, key: QuotaKey, until_s: float, why: str) -> float:
        """Admit nothing before `until_s`, after a 429; returns the end of the pause in force, which may be longer.

        `why` is stored in the shared record.
        """

    def refused(self, key: QuotaKey, retry_after_s: float | None, began_s: float, now_s: float) -> None:
        """Record a 429 to a call that began at `began_s`: where no limit is configured, the rate is learned from it."""

    def learned(self, key: QuotaKey, now_s: float) -> QuotaLearned | None:
        """The learned limit; None: nothing is learned, or a limit is configured."""

    def correct(self, key: QuotaKey, observation: Observation, now_s: float) -> None:
        """Lower what is believed to be left to the provider's figure. Never raises it above what the configured limit
        and our counts leave; ignored where no limit is configured.
        """

    def usage(self, key: QuotaKey, now_s: float) -> tuple[LimitUse, ...]:
        """Each configured limit and how much of it is taken (C7)."""

    def forecast(self, key: QuotaKey, now_s: float) -> KeyForecast:
        """When how much of each limit will be free, if nothing more is spent; the router admits by this (C3)."""

    def blocking_limit(self, key: QuotaKey, need: Need, now_s: float) -> LimitName | None:
        """The limit that blocks `need` now; None: no known one, or a pause. Charges nothing."""

    def record(self, key: QuotaKey) -> str:
        """Name of the record in `llm_quota` that all workers share; empty: this process counts for itself."""


class LocalQuota:
    """The limits as counted in this process: exact for a single worker."""

    unreachable_records: tuple[str, ...] = ()
    """Empty: a local quota has no records."""

    def __init__(
        self,
        limits: Mapping[QuotaKey, Limits],
        records: Mapping[QuotaKey, str] | None = None,
        *,
        batch: Batch,
        number_step: int = 1,
    ) -> None:
        """`records`: keys of the same record share one quota; None: each has its own. `batch`: what the batch lane
        leaves free. `number_step`: difference between the numbers of permits.
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
        number = self._limit_sets[key].admit(need.tokens, now_s, self._reserve(key, need, now_s))
        if number is None:
            return _DENIED
        if need.lane == "batch":
            self._reserves[key].record_start(now_s)
        return Permit(key, need.tokens, number)

    def withdraw(self, waiter: int) -> None:
        """Do nothing: a local quota has no queue."""

    def wait_s(self, key: QuotaKey, need: Need, now_s: float) -> float:
        if self._limit_sets[key].fits(need.tokens, now_s, self._reserve(key, need, now_s)):
            return 0.0
        return max(0.0, self._blocking_limit(key, need, now_s)[0] - now_s)

    def settle(self, permit: Permit, true_tokens: int, now_s: float) -> None:
        self._limit_sets[permit.key].settle(permit.number, true_tokens, now_s)

    def pause(self, key: QuotaKey, until_s: float, why: str = "") -> float:  # noqa: ARG002 - for the record
        return self._limit_sets[key].pause(until_s)

    def refused(self, key: QuotaKey, retry_after_s: float | None, began_s: float, now_s: float) -> None:
        self._limit_sets[key].refused(retry_after_s, began_s, now_s)

    def refusal(self, key: QuotaKey, retry_after_s: float | None, began_s: float, now_s: float) -> Refusal:
        """The refusal from which `refused` would learn, for the shared record. Only for keys without limits."""
        learned = self._limit_sets[key].learned
        assert learned is not None  # noqa: S101 - as it says
        return learned.refusal(retry_after_s, began_s, now_s)

    def last_refusal(self, key: QuotaKey, now_s: float) -> tuple[float, int] | None:
        """When the latest refused call began, and how many calls were admitted before; None: a limit is configured,
        or no call was refused lately.
        """
        learned = self._limit_sets[key].learned
        return None if learned is None else learned.last_refusal(now_s)

    def learned_elsewhere(self, key: QuotaKey) -> None:
        """The shared record keeps the learned limit from now on."""
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

    def forecast(self, key: QuotaKey, now_s: float) -> KeyForecast:
        return self._limit_sets[key].forecast(now_s)

    def blocking_limit(self, key: QuotaKey, need: Need, now_s: float) -> LimitName | None:
        if self.wait_s(key, need, now_s) == 0:
            return None
        limit = self._blocking_limit(key, need, now_s)[1]
        is_learned = self._limit_sets[key].learned is not None
        return None if limit == "paused" or is_learned else limit

    def record(self, key: QuotaKey) -> str:  # noqa: ARG002 - required by the protocol
        return ""

    def _reserve(self, key: QuotaKey, need: Need, now_s: float) -> float:
        return self._reserves[key].reserve(now_s) if need.lane == "batch" else 0.0

    def _blocking_limit(self, key: QuotaKey, need: Need, now_s: float) -> tuple[float, LimitName]:
        """When to ask again; for a request behind the reserve, after `batch.starvation_timeout_s` at the latest."""
        limit_set = self._limit_sets[key]
        bare = limit_set.blocking_limit(need.tokens, now_s)
        reserve = self._reserve(key, need, now_s)
        if not reserve or bare[0] == inf:
            return bare
        at_s, limit = limit_set.blocking_limit(need.tokens, now_s, reserve)
        return max(min(at_s, self._reserves[key].due_at_s(now_s)), bare[0]), limit
