"""The limiter never admits more than the limit, and lets in who waited as long as told."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.simulator.behaviour.behaviours import parse_model
from services.simulator.http.headers import format_duration, rate_limit_headers, refused
from services.simulator.rate_limits.admission import Admission
from services.simulator.rate_limits.limits import Account, FixedWindow, Limit, Refusal, Ticket, TokenBucket

STEPS = st.lists(st.tuples(st.floats(0, 3), st.integers(1, 6)), max_size=60)


def _admitted(gauge, steps):
    """(time, cost) of what was let in; `steps` are (seconds since the last, cost)."""
    now_s, admitted = 1000.0, []
    for pause_s, cost in steps:
        now_s += pause_s
        if gauge.wait_s(cost, now_s) == 0:
            gauge.take(cost, now_s)
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
def test_a_bucket_never_gives_more_than_it_held_and_was_refilled(limit, steps):
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
def test_the_wait_that_is_told_is_long_enough(algorithm, limit, steps, cost):
    gauge = algorithm(limit, 2.0)
    _admitted(gauge, steps)
    now_s = 1000.0 + sum(pause_s for pause_s, _ in steps)
    wait_s = gauge.wait_s(cost, now_s)
    if cost > limit:
        assert wait_s == math.inf
    else:
        assert wait_s <= 2.0 + 1e-9
        assert gauge.wait_s(cost, now_s + wait_s + 1e-9) == 0


@given(
    limit=st.builds(
        Limit,
        requests_per_minute=st.integers(1, 5),
        tokens_per_minute=st.integers(10, 50),
        requests_per_day=st.integers(1, 20),
        tokens_per_day=st.integers(20, 200),
        concurrency=st.integers(1, 4),
        window_s=st.just(2.0),
    ),
    steps=st.lists(st.tuples(st.floats(0, 1.5), st.integers(1, 30), st.booleans()), max_size=60),
)
def test_c1_an_account_holds_all_its_limits_at_once(limit, steps):
    account = Account(limit)
    now_s, running, admitted = 0.0, [], []
    for pause_s, tokens, finish in steps:
        now_s += pause_s
        if finish and running:
            ticket = running.pop(0)
            account.settle(ticket, ticket.tokens, now_s)
        decision = account.admit(tokens, now_s)
        if isinstance(decision, Ticket):
            running.append(decision)
            admitted.append((now_s, tokens))
        assert account.in_flight == len(running) <= limit.concurrency
    # A day of 1,440 windows outlasts every run of this test.
    assert len(admitted) <= limit.requests_per_day
    assert sum(tokens for _, tokens in admitted) <= limit.tokens_per_day
    for (first_s, _), (later_s, _) in pairwise(admitted[:: limit.requests_per_minute]):
        assert later_s > first_s, "more requests at one moment than a minute holds"


def test_a_refused_request_is_charged_to_no_limit():
    account = Account(Limit(requests_per_minute=10, tokens_per_minute=100))
    assert isinstance(account.admit(90, 0.0), Ticket)
    assert isinstance(account.admit(20, 0.0), Refusal)
    assert account.standing("requests_per_minute", 0.0).remaining == 9


@pytest.mark.parametrize("algorithm", ["fixed_window", "token_bucket"])
def test_the_charge_is_corrected_to_the_true_count(algorithm):
    account = Account(Limit(tokens_per_minute=100, algorithm=algorithm))
    ticket = account.admit(80, 0.0)
    account.settle(ticket, 30, 0.0)
    assert account.standing("tokens_per_minute", 0.0).remaining == 70


def test_a_correction_that_comes_after_its_window_changes_nothing():
    account = Account(Limit(tokens_per_minute=100, window_s=1.0))
    old = account.admit(80, 0.0)
    assert isinstance(account.admit(60, 1.5), Ticket)
    account.settle(old, 10, 1.6)
    assert account.standing("tokens_per_minute", 1.6).remaining == 40


def test_keys_and_models_have_their_own_accounts_and_a_star_is_for_the_rest():
    admission = Admission({"a": Limit(requests_per_minute=1), "*": Limit(requests_per_minute=2)})
    account = admission.account("k1", parse_model("a"))
    assert account is admission.account("k1", parse_model("a--slow=1"))
    assert account is not admission.account("k2", parse_model("a"))
    assert admission.account("k1", parse_model("b")).limit.requests_per_minute == 2
    admission.set_limits({"*": None})
    assert admission.account("k1", parse_model("b")) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"),
        (0.0115, "12ms"),
        (0.9999, "1000ms"),
        (7.66, "7.66s"),
        (179.56, "2m59.56s"),
        (60, "1m0s"),
        (3605, "1h0m5s"),
        (86400, "24h0m0s"),
        (1.001, "1.01s"),
    ],
)
def test_c4_resets_are_written_as_the_providers_write_them(seconds, text):
    assert format_duration(seconds) == text


@given(st.floats(0, 100_000))
def test_a_written_duration_is_never_shorter_than_the_truth(seconds):
    text, total = format_duration(seconds), 0.0
    if text.endswith("ms"):
        total = float(text[:-2]) / 1e3
    else:
        for unit, factor in (("h", 3600), ("m", 60), ("s", 1)):
            if unit in text:
                number, text = text.split(unit)
                total += float(number) * factor
    assert seconds - 1e-6 <= total <= seconds + 0.0101


def test_c4_groq_shows_requests_per_day_and_openai_per_minute():
    account = Account(Limit(requests_per_minute=30, requests_per_day=1000, tokens_per_minute=8000))
    account.admit(100, 0.0)
    groq = dict(rate_limit_headers(account, "groq", 0.0))
    openai = dict(rate_limit_headers(account, "openai", 0.0))
    assert (groq[b"x-ratelimit-limit-requests"], groq[b"x-ratelimit-remaining-requests"]) == (b"1000", b"999")
    assert groq[b"x-ratelimit-reset-requests"] == b"24h0m0s"
    assert openai[b"x-ratelimit-limit-requests"] == b"30"
    assert openai[b"x-ratelimit-remaining-tokens"] == groq[b"x-ratelimit-remaining-tokens"] == b"7900"


def test_a_request_larger_than_the_limit_is_a_413_on_groq():
    refusal = Account(Limit(tokens_per_minute=8000)).admit(9000, 0.0)
    error = refused(refusal, "m", "groq")
    assert (error.status, error.headers) == (413, ())
    assert "(TPM): Limit 8000, Requested 9000" in error.message
    assert refused(refusal, "m", "openai").status == 429
