"""D5: the effect of a shortening on a request body."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from penstock.runtime.config.catalogue import Parameters, RoleConfig
from services.worker.degradation.shorten import Shortener, Shortening, cut_limit, shape_of
from services.worker.providers.parameters.adapt import rules_of
from services.worker.providers.parameters.compose import compose

CUT = Shortening(cut=0.3, floor_tokens=256, default_tokens=2000, cut_why="too slow")
TRIM = Shortening(messages=2, trim_why="too many errors")
ROLE = RoleConfig(chain=("m",), parameters=Parameters(max_tokens=2000), ceilings=Parameters(max_tokens=4000))
QUESTION = [{"role": "user", "content": "?"}]


def sent(shortening: Shortening, *, mapping: dict | None = None, **body) -> tuple[dict, Shortener]:
    shortener = Shortener(shortening)
    raw = json.dumps({"messages": QUESTION, **body}).encode()
    adaptation = rules_of(mapping or {}, "")
    made, _ = compose(raw, model="m", role=ROLE, adaptation=adaptation, stream=False, shorten=shortener.apply)
    return json.loads(made), shortener


@pytest.mark.parametrize(
    ("requested", "limit"),
    [
        ({}, 1400),
        ({"max_tokens": 4000}, 2800),
        ({"max_tokens": 9000}, 2800),
        ({"max_tokens": 1500}, 1400),
        ({"max_tokens": 1400}, 1400),
        ({"max_tokens": 100}, 100),
    ],
)
def test_d5_a_high_output_limit_is_cut_by_three_tenths(requested, limit):
    body, shortener = sent(CUT, **requested)
    assert body["max_tokens"] == limit
    before = min(requested.get("max_tokens", 2000), 4000)
    reported = [(each.rule, each.what, each.before, each.after) for each in shortener.degraded]
    assert reported == ([] if limit == before else [("high_latency", "max_tokens", before, limit)])


def test_d5_the_limit_is_cut_under_the_parameter_name_of_the_model():
    body, _ = sent(CUT, mapping={"max_tokens": "max_completion_tokens"})
    assert (body["max_completion_tokens"], "max_tokens" in body) == (1400, False)


@pytest.mark.parametrize(
    "requested",
    [
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "json_schema", "json_schema": {}}},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"functions": [{"name": "f"}]},
        {"response_format": 7},
    ],
)
def test_d5_json_output_and_tool_calls_are_not_cut(requested):
    body, shortener = sent(CUT, max_tokens=3000, **requested)
    assert body["max_tokens"] == 3000
    assert shortener.degraded == []
    assert not shape_of(Raw(json.dumps({"messages": QUESTION, **requested}).encode()), 6).may_cut


@given(st.integers(1, 10_000), st.integers(0, 5000), st.integers(1, 1000))
def test_d5_a_cut_never_raises_a_limit_and_is_monotonic(requested, default_limit, floor):
    shortening = Shortening(cut=0.3, floor_tokens=floor, default_tokens=default_limit)
    after = cut_limit(requested, shortening)
    assert min(requested, floor) <= after <= requested
    assert after >= int(requested * 0.7)
    assert cut_limit(requested + 1, shortening) >= after


def test_d5_trimmed_history_is_reported():
    messages = [{"role": "system", "content": "s"}] + QUESTION * 5
    body, shortener = sent(TRIM, messages=messages)
    assert [each["role"] for each in body["messages"]] == ["system", "user", "user"]
    (reported,) = shortener.degraded
    assert (reported.rule, reported.what, reported.before, reported.after) == ("errors", "messages", 5, 2)
    assert reported.why == "too many errors"


def test_d5_the_estimate_counts_only_the_remaining_history():
    messages = [{"role": "user", "content": "x" * 1000} for _ in range(10)]
    shape = shape_of(Raw(json.dumps({"messages": messages}).encode()), 5)
    assert shape.kept_share == pytest.approx(0.5, abs=0.02)
    assert shape_of(Raw(json.dumps({"messages": messages}).encode()), 10).kept_share == 1.0


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"messages":7}', b'{"messages":[{"role":1}]}'])
def test_d5_an_unreadable_body_is_not_reduced(body):
    assert shape_of(Raw(body), 1).kept_share == 1.0
