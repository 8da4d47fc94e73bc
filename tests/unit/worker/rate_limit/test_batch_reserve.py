"""C6: batch requests leave a reserve to interactive ones, and are not starved."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from penstock.runtime.config.catalogue import Batch, Catalogue, Limits, Model, ProviderConfig, RoleConfig
from services.worker.models.availability import Availability
from services.worker.models.roster import Roster
from services.worker.rate_limit.batch_reserve import reserved
from services.worker.rate_limit.quota import Denied, LocalQuota, Need, Permit, QuotaKey
from services.worker.rate_limit.quota_keys import keys_of
from services.worker.rate_limit.shared.replica import Member
from services.worker.rate_limit.shared.shared_quota import SharedQuota
from services.worker.rate_limit.shared.store_protocol import Conflict, Stored

KEY = QuotaKey("A_KEY", "m")
BATCH = Batch(reserve_share=0.2, starvation_timeout_s=10.0)


def local(**limits: int) -> LocalQuota:
    quota = LocalQuota({KEY: Limits(**limits)}, batch=BATCH)
    quota.wait_s(KEY, Need(0, "batch"), 0.0)  # the timeout begins
    return quota


def _taken(quota: LocalQuota, need: Need, now_s: float) -> int:
    count = 0
    while isinstance(quota.try_acquire(KEY, need, now_s), Permit):
        count += 1
    return count


@pytest.mark.parametrize(
    ("limits", "tokens", "batch", "interactive"),
    [
        ({"requests_per_minute": 10}, 1, 8, 2),
        ({"requests_per_minute": 11}, 1, 8, 3),
        ({"tokens_per_minute": 1000}, 100, 8, 2),
        ({"concurrency": 5}, 1, 4, 1),
        ({"requests_per_day": 10}, 1, 10, 0),
        ({"tokens_per_minute": 1000, "requests_per_minute": 5}, 100, 4, 1),
    ],
)
def test_c6_batch_leaves_a_fifth_of_each_limit_per_minute(
    limits: dict[str, int], tokens: int, batch: int, interactive: int
):
    quota = local(**limits)
    assert _taken(quota, Need(tokens, "batch"), 1.0) == batch
    assert _taken(quota, Need(tokens), 1.0) == interactive


def test_c6_one_batch_request_in_ten_seconds_ignores_the_reserve():
    quota = local(requests_per_minute=10)
    assert _taken(quota, Need(1, "batch"), 1.0) == 8
    assert quota.try_acquire(KEY, Need(1, "batch"), 1.0) == Denied()
    assert quota.wait_s(KEY, Need(1, "batch"), 1.0) == 10.0, "ten seconds after the last one"
    assert _taken(quota, Need(1, "batch"), 11.0) == 1
    assert quota.wait_s(KEY, Need(1, "batch"), 11.0) == 10.0
    assert _taken(quota, Need(1), 11.0) == 1


def test_c6_a_batch_request_above_the_lanes_part_waits_for_the_timeout():
    quota = local(tokens_per_minute=100)
    assert quota.wait_s(KEY, Need(90, "batch"), 1.0) == 9.0
    assert quota.wait_s(KEY, Need(101, "batch"), 1.0) == float("inf")
    assert isinstance(quota.try_acquire(KEY, Need(90, "batch"), 10.0), Permit)


def test_c6_without_a_limit_there_is_no_reserve():
    quota = local()
    assert isinstance(quota.try_acquire(KEY, Need(10_000, "batch"), 1.0), Permit)


def test_c6_the_reserve_is_rounded_up_exactly():
    assert [reserved(limit, 0.2) for limit in (0, 1, 5, 6, 10, 30)] == [0, 1, 1, 2, 2, 6]
    assert reserved(30, 0.1) == 3
    assert reserved(30, 0.0) == 0


def test_c6_the_batch_mailbox_closes_before_the_interactive_one():
    catalogue = Catalogue(
        name="c",
        providers={"p": ProviderConfig(api_key_env=("A_KEY",))},
        models={"m": Model(provider="p", limits=Limits(requests_per_minute=5))},
        roles={"chat": RoleConfig(chain=("m",))},
    )
    quota = local(requests_per_minute=5)
    keys = keys_of(catalogue, {"p": ("A_KEY",)})
    availability = Availability(catalogue, keys, quota, Roster(catalogue.models))
    assert availability.opens_in_s(["m"], 1.0, "batch") == 0.0
    assert _taken(quota, Need(1, "batch"), 1.0) == 4
    assert availability.opens_in_s(["m"], 1.0, "batch") == 10.0
    assert availability.opens_in_s(["m"], 1.0) == 0.0
    assert _taken(quota, Need(1), 1.0) == 1
    assert availability.opens_in_s(["m"], 1.0) == 60.0


class _Records:
    """One record, in memory."""

    def __init__(self) -> None:
        self.stored: Stored | None = None
        self.quotas: list[SharedQuota] = []

    async def read(self, key: str) -> Stored | None:  # noqa: ARG002 - the protocol's signature
        return self.stored

    async def write(self, key: str, data: bytes, revision: int) -> int:
        if revision != (0 if self.stored is None else self.stored.revision):
            raise Conflict(key)
        self.stored = Stored(data, revision + 1, 0.0)
        for quota in self.quotas:
            asyncio.get_running_loop().call_soon(quota.observe, key, self.stored)
        return revision + 1


@pytest.fixture
async def records() -> AsyncIterator[_Records]:
    made = _Records()
    yield made
    for quota in made.quotas:
        await quota.stop()


async def shared(records: _Records, name: str, batch: Batch = BATCH, **limits: int) -> SharedQuota:
    quota = SharedQuota(
        {KEY: Limits(**limits)}, {KEY: "r"}, Member(name, lambda: 0.5, lambda: 0.0), records, batch=batch
    )
    records.quotas.append(quota)
    await quota.start()
    quota.wait_s(KEY, Need(0, "batch"), _now_s())
    return quota


def _now_s() -> float:
    return asyncio.get_running_loop().time()


async def _drained(quota: SharedQuota, need: Need, at_least_s: float = 0.0) -> int:
    """All permits that can be had, until none came for as long as a lease may take."""
    count, until_s = 0, _now_s() + max(at_least_s, 0.4)
    while _now_s() < until_s:
        if isinstance(quota.try_acquire(KEY, need, _now_s()), Permit):
            count += 1
            until_s = max(until_s, _now_s() + 0.4)
        else:
            await asyncio.sleep(0.01)
    return count


@pytest.mark.parametrize(
    ("limits", "tokens", "batch", "all_of_it"),
    [
        ({"requests_per_minute": 40}, 1, 32, 40),
        ({"tokens_per_minute": 4000}, 100, 32, 40),
        ({"concurrency": 10}, 1, 8, 10),
    ],
)
async def test_c6_all_workers_together_leave_the_reserve(
    records: _Records, limits: dict[str, int], tokens: int, batch: int, all_of_it: int
):
    a, b = await shared(records, "a", **limits), await shared(records, "b", **limits)
    need = Need(tokens, "batch")
    found = await asyncio.gather(_drained(a, need, at_least_s=2.6), _drained(b, need, at_least_s=2.6))
    assert sum(found) == batch
    assert await _drained(b, Need(tokens), at_least_s=1.5) == all_of_it - batch


async def test_c6_a_batch_request_that_waited_long_may_use_the_reserve(records: _Records):
    quota = await shared(
        records, "a", Batch(reserve_share=0.5, starvation_timeout_s=1.0), requests_per_minute=10
    )
    assert await _drained(quota, Need(1, "batch")) == 5
    assert await _drained(quota, Need(1, "batch"), at_least_s=2.0) == 2
    assert await _drained(quota, Need(1)) == 3


async def test_c6_interactive_requests_find_the_reserve_under_batch_load(records: _Records):
    quota = await shared(records, "a", requests_per_minute=50)
    other = await shared(records, "b", requests_per_minute=50)
    assert await _drained(quota, Need(1, "batch")) == 40
    found = await asyncio.gather(_drained(quota, Need(1, "batch"), 1.5), _drained(other, Need(1), 1.5))
    assert found == [0, 10]
