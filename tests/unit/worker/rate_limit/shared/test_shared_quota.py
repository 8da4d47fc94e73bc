"""C1, A6: `SharedQuota` on records in memory that conflict, lose answers and disappear."""

from __future__ import annotations

import asyncio
import math
import random
import selectors
from collections.abc import Callable
from functools import partial
from typing import Literal

import pytest

from penstock.contract import codec
from penstock.contract.quota import QuotaLearned, QuotaLease, QuotaRecord
from penstock.contract.subjects import quota_key
from penstock.runtime.config.catalogue import Batch, Catalogue, Limits, Model, ProviderConfig, RoleConfig
from services.simulator.rate_limits.limiter import ModelLimits, RateLimiter
from services.simulator.rate_limits.responses import rate_limit_headers
from services.worker.providers.rate_limit_headers import read_rate_limits
from services.worker.rate_limit.quota import Denied, Need, Observation, Permit, Quota, QuotaKey
from services.worker.rate_limit.quota_keys import keys_of, limits_of, records_of
from services.worker.rate_limit.record.lease_settings import LeaseSettings
from services.worker.rate_limit.shared.replica import Member
from services.worker.rate_limit.shared.shared_quota import SharedQuota
from services.worker.rate_limit.shared.store_protocol import Conflict, Stored, Unreachable

KEY, OTHER = QuotaKey("A_KEY", "m"), QuotaKey("B_KEY", "m")
LEASE_SETTINGS = LeaseSettings(lease_ms=1500, grace_ms=200)


class Memory:
    """A store that fails like NATS on a bad day."""

    def __init__(self, *, lost: float = 0.0, seed: int = 1) -> None:
        self.entries: dict[str, Stored] = {}
        self.gone = False
        self.server_s = 0.0
        """The server's wall clock."""
        self._lost = lost
        self._dice = random.Random(seed)
        self.listeners: list[SharedQuota] = []
        self.late: list[tuple[str, bytes, int]] = []

    async def read(self, key: str) -> Stored | None:
        await asyncio.sleep(0)
        if self.gone:
            raise Unreachable("gone")
        return self.entries.get(key)

    async def write(self, key: str, data: bytes, revision: int) -> int:
        await asyncio.sleep(0.001)
        if self.gone:
            raise Unreachable("gone")
        fate = self._dice.random()
        if fate < self._lost / 2:
            asyncio.get_running_loop().call_later(self._dice.random(), self._late, key, data, revision)
            raise Unreachable("on its way, or not")
        stored = self._store(key, data, revision)
        if fate < self._lost:
            raise Unreachable("stored, and not observed")
        return stored

    def _late(self, key: str, data: bytes, revision: int) -> None:
        if self._dice.random() < 0.5:
            try:
                self._store(key, data, revision)
            except Conflict:
                return

    def _store(self, key: str, data: bytes, revision: int) -> int:
        before = self.entries.get(key)
        if revision != (0 if before is None else before.revision):
            raise Conflict(key)
        self.entries[key] = Stored(data, revision + 1, self.server_s)
        for listener in self.listeners:
            if self._dice.random() > self._lost:
                asyncio.get_running_loop().call_soon(listener.observe, key, self.entries[key])
        return revision + 1


def _now_s() -> float:
    return asyncio.get_running_loop().time()


async def worker(
    memory: Memory, name: str, limits: Limits, on_grant: Callable[[], None] = lambda: None
) -> SharedQuota:
    member = Member(name, random.Random(name).random, lambda: memory.server_s, on_grant)
    quota = SharedQuota(
        {KEY: limits}, {KEY: "record"}, member, memory, batch=Batch(), settings=LEASE_SETTINGS
    )
    memory.listeners.append(quota)
    await quota.start()
    return quota


async def drain(quota: SharedQuota, for_s: float, waiter: int = 0) -> int:
    count, until_s = 0, _now_s() + for_s
    while _now_s() < until_s:
        if isinstance(quota.try_acquire(KEY, Need(1, waiter=waiter), _now_s()), Permit):
            count += 1
        else:
            await asyncio.sleep(0.01)
    return count


async def test_c1_lost_answers_late_writes_and_missed_entries_keep_the_limit():
    memory = Memory(lost=0.3)
    limits = Limits(requests_per_minute=90, tokens_per_minute=1000)
    quotas = [await worker(memory, name, limits) for name in "abc"]
    counts = await asyncio.gather(*(drain(quota, 6.0) for quota in quotas))
    assert 75 <= sum(counts) <= 90
    for quota in quotas:
        await quota.stop()


class _SimulatedTime(asyncio.SelectorEventLoop):
    """A wait ends at once: the pace of the machine decides nothing."""

    def __init__(self) -> None:
        self.now_s = 0.0
        super().__init__(_Waiting(self))

    def time(self) -> float:
        return self.now_s


class _Waiting(selectors.SelectSelector):
    def __init__(self, loop: _SimulatedTime) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._loop.now_s += timeout or 0.0
        return super().select(0)


def test_c3_a_role_with_one_worker_gets_as_much_as_one_with_three():
    with asyncio.Runner(loop_factory=_SimulatedTime) as runner:
        runner.run(_one_beside_three())


async def _one_beside_three() -> None:
    """A window of two seconds; each role has 200 requests in its mailbox, and each worker one in flight."""
    memory = Memory()
    settings = LeaseSettings(minute_ms=2_000, minute_grain_ms=100, margin_ms=100)
    quotas: list[SharedQuota] = []
    for name, role in (("a", "chat"), ("b", "coding"), ("c", "coding"), ("d", "coding")):
        limits = {KEY: Limits(requests_per_minute=60)}
        member = Member(
            name,
            random.Random(name).random,
            lambda: 0.0,
            queued=lambda models, role=role: {role: 200} if models == {"m"} else {},
        )
        quota = SharedQuota(limits, {KEY: "record"}, member, memory, batch=Batch(), settings=settings)
        memory.listeners.append(quota)
        await quota.start()
        quotas.append(quota)
    await asyncio.gather(*(drain(quota, 2.1, waiter=1) for quota in quotas))

    chat, *coding = await asyncio.gather(*(drain(quota, 4.0, waiter=1) for quota in quotas))

    leases = codec.QUOTA.decode(memory.entries["record"].data).leases
    assert {lease.holder: lease.queued for lease in leases}["a"] == (("chat", 200),)
    assert 0.4 <= chat / (chat + sum(coding)) <= 0.6, (chat, coding)
    for quota in quotas:
        await quota.stop()


async def test_c1_a_permit_from_a_lease_needs_no_write_and_no_wait():
    memory = Memory()
    quota = await worker(memory, "a", Limits(requests_per_minute=100_000))
    count = await drain(quota, 1.0)
    assert count > 10 * memory.entries["record"].revision
    await quota.stop()


async def test_c1_a_model_without_a_limit_has_no_record():
    memory = Memory()
    quota: Quota = await worker(memory, "a", Limits())
    got = quota.try_acquire(KEY, Need(5), _now_s())
    assert isinstance(got, Permit)
    quota.settle(got, 5, _now_s())
    quota.pause(KEY, _now_s() + 9, "429")
    quota.correct(KEY, Observation(kind="tokens", window="minute", remaining=0), _now_s())
    assert 8.0 < quota.wait_s(KEY, Need(5), _now_s()) <= 9.0, "a 429 counts whether or not a limit is known"
    assert quota.usage(KEY, _now_s()) == ()
    assert memory.entries == {}


@pytest.mark.parametrize(("age_s", "limited"), [(0.0, True), (3600.0, False)])
async def test_c4_a_limit_learned_by_others_is_adopted_until_it_expires(age_s: float, limited: bool):
    memory = Memory()
    known = QuotaLearned(per_minute=30.0, measured_from_ms=0, grows_from_ms=0, refused_ms=0)
    memory._store("record", codec.encode(QuotaRecord(at_ms=0, learned=known)), 0)
    memory.server_s = age_s
    quota = await worker(memory, "a", Limits())
    assert bool(quota._by_record) == limited, "whether it leases the limit"
    await quota.stop()


async def test_c1_a_need_above_the_whole_limit_never_fits():
    quota = await worker(Memory(), "a", Limits(tokens_per_minute=100))
    assert quota.try_acquire(KEY, Need(101), _now_s()) == Denied()
    assert math.isinf(quota.wait_s(KEY, Need(101), _now_s()))
    with pytest.raises(KeyError):
        quota.try_acquire(OTHER, Need(1), _now_s())
    await quota.stop()


async def test_c4_unused_tokens_serve_the_next_request():
    quota = await worker(Memory(), "a", Limits(tokens_per_minute=100))
    first = None
    while not isinstance(first, Permit):
        first = quota.try_acquire(KEY, Need(90), _now_s())
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.7)  # it is reported
    quota.settle(first, 20, _now_s())
    quota.settle(first, 0, _now_s())
    async with asyncio.timeout(2.0):
        while not isinstance(quota.try_acquire(KEY, Need(75), _now_s()), Permit):
            await asyncio.sleep(0.01)
    (use,) = quota.usage(KEY, _now_s())
    assert 95 <= use.used <= 100
    await quota.stop()


async def test_c1_an_idle_worker_returns_its_lease():
    memory = Memory()
    a, b = (
        await worker(memory, "a", Limits(requests_per_minute=60)),
        await worker(memory, "b", Limits(requests_per_minute=60)),
    )
    had = await drain(a, 0.4)
    assert had + await drain(b, 3.0) == 60
    await a.stop()
    await b.stop()


async def test_c1_while_the_record_is_unreachable_requests_wait():
    memory = Memory()
    limits = Limits(requests_per_minute=30)
    a, b = await worker(memory, "a", limits), await worker(memory, "b", limits)
    await asyncio.sleep(0.5)
    memory.gone = True
    assert await asyncio.gather(drain(a, 3.0), drain(b, 3.0)) == [0, 0]
    assert a.unreachable_records == b.unreachable_records == ("record",)
    assert a.wait_s(KEY, Need(1), _now_s()) > 0, "no mailbox is pulled from meanwhile"
    memory.gone = False
    await _until(lambda: not a.unreachable_records and not b.unreachable_records, 3.0)
    assert sum(await asyncio.gather(drain(a, 1.0), drain(b, 1.0))) == 30
    await a.stop()
    await b.stop()


def _record_ms(quota: SharedQuota) -> int:
    return quota._by_record["record"].clock.now_ms(_now_s())


async def test_c1_a_new_worker_gets_the_time_from_workers_not_the_server():
    memory = Memory()
    a = await worker(memory, "a", Limits(requests_per_minute=30))
    await asyncio.sleep(0.05)
    a._by_record["record"].clock.observe(100_000, _now_s())  # it is old, and had nothing to write
    memory.server_s = 1e6  # the server's clock stepped
    b = await worker(memory, "b", Limits(requests_per_minute=30))
    async with asyncio.timeout(2.0):
        while _record_ms(b) < 100_000:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)
    assert abs(_record_ms(b) - _record_ms(a)) < 50
    await a.stop()
    await b.stop()


async def test_c1_without_other_workers_the_server_measures_the_idle_time():
    memory = Memory()
    a = await worker(memory, "a", Limits(requests_per_minute=30))
    assert await drain(a, 1.0) == 30
    await a.stop()
    for away_s, again in ((30.0, 0), (31.0, 30)):
        memory.server_s += away_s
        b = await worker(memory, "b", Limits(requests_per_minute=30))
        assert await drain(b, 1.0) == again
        await b.stop()


def _catalogue(group: str | None) -> Catalogue:
    return Catalogue(
        name="c",
        providers={"p": ProviderConfig(api_key_env=("A_KEY", "B_KEY"), quota_group=group)},
        models={
            "m": Model(provider="p", limits=Limits(requests_per_minute=1)),
            "alias": Model(provider="p", name="m", limits=Limits(requests_per_minute=1)),
        },
        roles={"chat": RoleConfig(chain=("m", "alias"))},
    )


@pytest.mark.parametrize(("group", "records"), [(None, 2), ("org", 1)])
def test_a6_credentials_multiply_a_quota_unless_they_share_a_group(group: str | None, records: int):
    config = _catalogue(group)
    limits = limits_of(config, keys_of(config, {"p": ("A_KEY", "B_KEY")}))
    member = Member("a", lambda: 0.5, lambda: 0.0)
    quota = SharedQuota(limits, records_of(config, limits), member, Memory(), batch=Batch())
    assert len(quota._by_record) == records, "two names of one model share a record"


def test_a6_no_two_owners_or_models_have_the_same_record():
    names = [("k", "a/b"), ("k", "a_b"), ("k", "a.b"), ("k", "x" * 70), ("k", "x" * 71), ("group:k", "a_b")]
    keys = {quota_key(owner, model) for owner, model in names}
    assert len(keys) == len(names)
    assert all(key.count(".") == 1 for key in keys)


def test_c4_a_pause_of_a_model_without_a_limit_is_in_force():
    key = QuotaKey("k", "unlimited")
    quota = SharedQuota(
        {key: Limits()}, {key: "k.unlimited"}, Member("a", lambda: 0.5, lambda: 0.0), Memory(), batch=Batch()
    )
    assert isinstance(quota.try_acquire(key, Need(1), 10.0), Permit)
    quota.pause(key, 20.0, "429")
    assert quota.wait_s(key, Need(1), 12.0) == 8.0
    assert isinstance(quota.try_acquire(key, Need(1), 12.0), Denied)
    assert isinstance(quota.try_acquire(key, Need(1), 20.0), Permit)


async def _with_one_waiter(memory: Memory, woken: list[str]) -> tuple[SharedQuota, SharedQuota]:
    """5,000 of 8,000 tokens are taken, and request 1 of another worker requested 5,000 at the same moment."""
    limits = Limits(tokens_per_minute=8000)
    winner, loser = [
        await worker(memory, name, limits, partial(woken.append, name)) for name in ("winner", "loser")
    ]
    await _until(lambda: _record_leases(memory) == 2)
    assert isinstance(loser.try_acquire(KEY, Need(5000, waiter=1), _now_s()), Denied)
    winner.try_acquire(KEY, Need(5000, waiter=1), _now_s())
    await _until(lambda: any(each.waits_since_ms is not None for each in _leases(memory)))
    winner, loser = (winner, loser) if _waits(memory, "loser") else (loser, winner)
    assert isinstance(winner.try_acquire(KEY, Need(5000, waiter=1), _now_s()), Permit)
    return winner, loser


def _leases(memory: Memory) -> tuple[QuotaLease, ...]:
    entry = memory.entries.get("record")
    return () if entry is None else codec.QUOTA.decode(entry.data).leases


def _record_leases(memory: Memory) -> int:
    return len(_leases(memory))


def _waits(memory: Memory, name: str) -> bool:
    return any(each.holder == name and each.waits_since_ms is not None for each in _leases(memory))


async def _until(condition: Callable[[], bool], within_s: float = 2.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.002)


async def _acquire(quota: SharedQuota, need: Need, within_s: float = 2.0) -> Permit:
    async with asyncio.timeout(within_s):
        while not isinstance(got := quota.try_acquire(KEY, need, _now_s()), Permit):
            await asyncio.sleep(0.01)
    return got


async def test_c1_c2_a_withdrawn_request_blocks_no_other():
    memory = Memory()
    woken: list[str] = []
    winner, loser = await _with_one_waiter(memory, woken)
    names = {quota: quota._member.holder for quota in (winner, loser)}
    await _until(lambda: winner.wait_s(KEY, Need(500, waiter=2), _now_s()) > 30)
    woken.clear()
    loser.withdraw(1)
    assert names[loser] in woken, "the requests behind it ask again"
    await _until(lambda: names[winner] in woken)
    assert not _waits(memory, "loser")
    assert winner.wait_s(KEY, Need(500, waiter=2), _now_s()) == 0
    await asyncio.gather(_acquire(winner, Need(500, waiter=2)), _acquire(loser, Need(100, waiter=2)))
    loser.withdraw(1)
    loser.withdraw(9)
    await asyncio.gather(winner.stop(), loser.stop())


async def test_d4_a_request_behind_the_first_waits_and_does_not_spin():
    memory = Memory()
    winner, loser = await _with_one_waiter(memory, [])
    await _until(lambda: loser.wait_s(KEY, Need(100, waiter=2), _now_s()) > 30)
    denied = loser.try_acquire(KEY, Need(100, waiter=2), _now_s())
    assert isinstance(denied, Denied)
    assert not denied.leasing
    loser.withdraw(1)
    await _acquire(loser, Need(100, waiter=2))
    await asyncio.gather(winner.stop(), loser.stop())


async def test_c1_the_next_waiter_takes_the_place_of_a_withdrawn_one():
    memory = Memory()
    winner, loser = await _with_one_waiter(memory, [])
    loser.try_acquire(KEY, Need(4000, waiter=2), _now_s())
    loser.withdraw(1)
    await _until(lambda: 4000 in [each.waits_for_tokens for each in _leases(memory)])
    await asyncio.gather(winner.stop(), loser.stop())


class Broken(Memory):
    """Fails in an unexpected way, for a while."""

    broken = True

    async def write(self, key: str, data: bytes, revision: int) -> int:
        if self.broken:
            raise RuntimeError("a mistake of ours")
        return await super().write(key, data, revision)


async def test_c1_a_defect_of_the_renewer_is_logged_and_does_not_end_it(
    caplog: pytest.LogCaptureFixture,
):
    memory = Broken()
    quota = await worker(memory, "a", Limits(requests_per_minute=30))
    await _until(lambda: quota.unreachable_records != (), 3.0)
    assert "could not be renewed" in caplog.text
    memory.broken = False
    await _until(lambda: quota.unreachable_records == (), 3.0)
    assert await drain(quota, 1.5) == 30
    await quota.stop()


USED = {
    "openai": {
        "requests_per_minute": 7,
        "tokens_per_minute": 700,
        "requests_per_day": 0,
        "tokens_per_day": 0,
    },
    "groq": {"requests_per_minute": 0, "tokens_per_minute": 700, "requests_per_day": 7, "tokens_per_day": 0},
}
"""The headers after seven requests of a hundred tokens: all of the minute, except groq's requests of the day."""


@pytest.mark.parametrize("sdk", ["openai", "groq"])
async def test_c4_each_providers_headers_lower_their_limits_in_all_workers(
    sdk: Literal["openai", "groq"],
):
    """Another program has used the credential; the simulator reports it as each provider does."""
    counts = {
        "requests_per_minute": 10,
        "requests_per_day": 100,
        "tokens_per_minute": 1000,
        "tokens_per_day": 9000,
    }
    limiter = RateLimiter(ModelLimits(**counts))
    for _ in range(7):
        limiter.admit(100, 0.0)
    headers = {name.decode(): value.decode() for name, value in rate_limit_headers(limiter, sdk, 0.0)}
    memory = Memory()
    a, b = await worker(memory, "a", Limits(**counts)), await worker(memory, "b", Limits(**counts))
    for word in read_rate_limits(headers, sdk):
        a.correct(KEY, word, _now_s())
    async with asyncio.timeout(2.0):
        while {use.name: use.used for use in b.usage(KEY, _now_s())} != USED[sdk]:
            await asyncio.sleep(0.01)
    await a.stop()
    await b.stop()


@pytest.mark.parametrize("made_again", ["deleted", "with low revisions"])
async def test_c1_a_new_worker_with_an_empty_bucket_gets_no_second_limit(made_again: str):
    """An entry or its whole bucket is deleted while workers are idle; the next worker creates the record anew."""
    memory, limits = Memory(), Limits(requests_per_minute=12)
    old = [await worker(memory, name, limits) for name in ("a", "b")]
    assert await drain(old[0], 1.0) == 12
    await asyncio.sleep(0.6)
    revision = memory.entries["record"].revision
    if made_again == "deleted":
        memory.entries["record"] = Stored(b"", revision + 1, 0.0)
    else:
        del memory.entries["record"]
    new = await worker(memory, "c", limits)
    await asyncio.sleep(0.3)

    assert await drain(new, 0.5) == 0
    for quota in (*old, new):
        await quota.stop()
