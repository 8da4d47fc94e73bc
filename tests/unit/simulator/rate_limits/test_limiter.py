"""Rate limits never admit more than the limit, and admit a request after its Retry-After."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.simulator.behaviour.model_names import parse_model
from services.simulator.rate_limits.limiter import (
    FixedWindow,
    ModelLimits,
    RateLimiter,
    RateLimiters,
    Rejection,
    TokenBucket,
    TokenCharge,
)

STEPS = st.lists(st.tuples(st.floats(0, 3), st.integers(1, 6)), max_size=60)


def _admitted(counter, steps):
    """(time, cost) of the admitted requests; `steps` are (seconds since the last, cost)."""
    now_s, admitted = 1000.0, []
    for pause_s, cost in steps:
        now_s += pause_s
        if counter.wait_s(cost, now_s) == 0:
            counter.take(cost, now_s)
            admitted.append((now_s, cost))
    return admitted


@given(limit=st.integers(1, 10), steps=STEPS)
def test_a_fixed_window_never_holds_more_than_the_limit(limit, steps):
    window_s = 2.0
    opened_s, used = -math.inf, 0
    for at_s, cost in _admitted(FixedWindow(limit, window_s), steps):
        if at_s - opened_s >= window_s:
            opened_s, used = at_s, 0
        used += cost
        assert used <= limit


@given(limit=st.integers(1, 10), steps=STEPS)
def test_a_bucket_never_admits_more_than_its_capacity_plus_refill(limit, steps):
    window_s = 2.0
    admitted = _admitted(TokenBucket(limit, window_s), steps)
    for first, (start_s, _) in enumerate(admitted):
        used = 0
        for at_s, cost in admitted[first:]:
            used += cost
            assert used <= limit * (1 + (at_s - start_s) / window_s) + 1e-3


@given(
    algorithm=st.sampled_from([FixedWindow, TokenBucket]),
    limit=st.integers(1, 10),
    steps=STEPS,
    cost=st.integers(1, 12),
)
def test_a_request_fits_after_the_reported_wait(algorithm, limit, steps, cost):
    counter = algorithm(limit, 2.0)
    _admitted(counter, steps)
    now_s = 1000.0 + sum(pause_s for pause_s, _ in steps)
    wait_s = counter.wait_s(cost, now_s)
    if cost > limit:
        assert wait_s == math.inf
    else:
        assert wait_s <= 2.0 + 1e-9
        assert counter.wait_s(cost, now_s + wait_s + 1e-9) == 0


@given(
    limit=st.builds(
        ModelLimits,
        requests_per_minute=st.integers(1, 5),
        tokens_per_minute=st.integers(10, 50),
        requests_per_day=st.integers(1, 20),
        tokens_per_day=st.integers(20, 200),
        concurrency=st.integers(1, 4),
        window_s=st.just(2.0),
    ),
    steps=st.lists(st.tuples(st.floats(0, 1.5), st.integers(1, 30), st.booleans()), max_size=60),
)
def test_c1_all_limits_of_a_model_hold_at_once(limit, steps):
    limiter = RateLimiter(limit)
    now_s, running, admitted = 0.0, [], []
    for pause_s, tokens, finish in steps:
        now_s += pause_s
        if finish and running:
            charge = running.pop(0)
            limiter.settle(charge, charge.tokens, now_s)
        decision = limiter.admit(tokens, now_s)
        if isinstance(decision, TokenCharge):
            running.append(decision)
            admitted.append((now_s, tokens))
        assert limiter.in_flight == len(running) <= limit.concurrency
    # A day of 1,440 windows outlasts every run of this test.
    assert len(admitted) <= limit.requests_per_day
    assert sum(tokens for _, tokens in admitted) <= limit.tokens_per_day
    for (first_s, _), (later_s, _) in pairwise(admitted[:: limit.requests_per_minute]):
        assert later_s > first_s, "more requests at one moment than a minute holds"


def test_a_rejected_request_is_charged_to_no_limit():
    limiter = RateLimiter(ModelLimits(requests_per_minute=10, tokens_per_minute=100))
    assert isinstance(limiter.admit(90, 0.0), TokenCharge)
    assert isinstance(limiter.admit(20, 0.0), Rejection)
    assert limiter.state("requests_per_minute", 0.0).remaining == 9


@pytest.mark.parametrize("algorithm", ["fixed_window", "token_bucket"])
def test_a_charge_is_corrected_to_the_used_tokens(algorithm):
    limiter = RateLimiter(ModelLimits(tokens_per_minute=100, algorithm=algorithm))
    charge = limiter.admit(80, 0.0)
    limiter.settle(charge, 30, 0.0)
    assert limiter.state("tokens_per_minute", 0.0).remaining == 70


def test_a_correction_after_its_window_changes_nothing():
    limiter = RateLimiter(ModelLimits(tokens_per_minute=100, window_s=1.0))
    old = limiter.admit(80, 0.0)
    assert isinstance(limiter.admit(60, 1.5), TokenCharge)
    limiter.settle(old, 10, 1.6)
    assert limiter.state("tokens_per_minute", 1.6).remaining == 40


def test_limits_hold_per_key_and_model_and_a_star_covers_the_rest():
    limiters = RateLimiters(
        {"a": ModelLimits(requests_per_minute=1), "*": ModelLimits(requests_per_minute=2)}
    )
    limiter = limiters.limiter("k1", parse_model("a"))
    assert limiter is limiters.limiter("k1", parse_model("a--slow=1"))
    assert limiter is not limiters.limiter("k2", parse_model("a"))
    assert limiters.limiter("k1", parse_model("b")).limits.requests_per_minute == 2
    limiters.set_limits({"*": None})
    assert limiters.limiter("k1", parse_model("b")) is None
