"""C4: 400 requests against providers with limits that are not configured, in simulated time, with real quotas."""

from __future__ import annotations

import math
import random

import pytest

from penstock.runtime.config.catalogue import Limits
from tests.harness.suite.examples import cases
from tests.property.worker.rate_limit.learned.learning_world import (
    Bucket,
    FixedWindow,
    Provider,
    Unsteady,
    run,
)

PER_MINUTE = 240
REQUESTS = 400


def calls_per_answer(provider: Provider) -> float:
    return provider.calls / len(provider.answered_s)


def _exactly(wait_s: float) -> float:
    return wait_s


def _not(_: object) -> None:
    return None


@pytest.mark.parametrize(
    ("retry_after", "workers"),
    cases(
        [(_exactly, 1), (_exactly, 3), (math.ceil, 1), (math.ceil, 3), (_not, 1), (_not, 3)],
        long=[(_exactly, 1), (_exactly, 3), (math.ceil, 3), (_not, 1)],
    ),
)
def test_c4_a_token_bucket_is_used_and_rarely_refuses(workers: int, retry_after) -> None:
    provider = Bucket(PER_MINUTE, PER_MINUTE, retry_after)
    outcome = run(provider, workers=workers, requests=REQUESTS)
    ideal_s = (REQUESTS - PER_MINUTE) / (PER_MINUTE / 60)
    print(f"{calls_per_answer(provider):.3f} calls per answer, {ideal_s / outcome.took_s:.1%} used")
    assert calls_per_answer(provider) <= 1.1
    assert ideal_s / outcome.took_s >= 0.9
    assert all(0.85 * PER_MINUTE <= each.per_minute <= 1.15 * PER_MINUTE for each in outcome.learned)


def test_c4_a_small_token_bucket_is_used_too() -> None:
    provider = Bucket(PER_MINUTE, 10)
    outcome = run(provider, workers=1, requests=200)
    assert calls_per_answer(provider) <= 1.1
    assert 190 / (PER_MINUTE / 60) / outcome.took_s >= 0.9


def test_c4_a_worker_with_a_local_quota_learns_the_same() -> None:
    provider = Bucket(PER_MINUTE, PER_MINUTE)
    outcome = run(provider, workers=1, requests=REQUESTS, local=True)
    assert calls_per_answer(provider) <= 1.1
    assert 40 / outcome.took_s >= 0.9


@pytest.mark.parametrize("retry_after", cases([True, False], long=[False]))
def test_c4_a_fixed_window_is_used_in_every_minute(retry_after: bool) -> None:
    provider = FixedWindow(60, retry_after=retry_after)
    outcome = run(provider, workers=1, requests=240)
    assert calls_per_answer(provider) <= 1.1
    assert outcome.took_s <= 240
    assert all(each is None or each.kind == "window" for each in outcome.learned)


def test_c4_a_provider_that_refuses_nothing_causes_no_write() -> None:
    outcome = run(Bucket(10**6, 10**6), workers=2, requests=REQUESTS)
    assert outcome.writes == 0
    assert outcome.learned == [None, None]


NAMED = Limits(requests_per_minute=10**6)


def _at_random(dice: random.Random) -> float:
    return dice.uniform(0.2, 2)


def _half_a_second(_: random.Random) -> float:
    return 0.5


@pytest.mark.parametrize(
    ("retry_after", "workers"),
    cases(
        [(_not, 1), (_not, 3), (_at_random, 1), (_at_random, 3), (_half_a_second, 1), (_half_a_second, 3)],
        long=[(_not, 3), (_at_random, 1), (_half_a_second, 3)],
    ),
)
def test_c4_random_refusals_cost_little_more_than_with_a_configured_limit(workers: int, retry_after) -> None:
    took_s = {NAMED: 0.0, Limits(): 0.0}
    for limits in took_s:
        for seed in range(4):
            provider = Unsteady(0.1, retry_after, seed)
            took_s[limits] += run(provider, workers=workers, requests=REQUESTS, limits=limits).took_s
    assert took_s[NAMED] / took_s[Limits()] >= 0.8
