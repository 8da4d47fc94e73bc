"""F1, F4: how much a request reserves, by its size, its chain and the prices."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from penstock.contract.ledger.holds import HoldRequest
from penstock.contract.ledger.policies import TokenPrices
from penstock.contract.reply import Usage
from penstock.runtime.config.load import load_catalogue
from penstock.runtime.pricing import cost_picousd
from services.router.budget.estimate import CostEstimator
from tests.harness.processes.catalogues import catalogue
from tests.harness.requests.routed_requests import chat_work, routed

CHEAP = TokenPrices(input=100_000, output=400_000)
DEAR = TokenPrices(input=3_000_000, output=15_000_000)
ENVIRONMENT = {"PENSTOCK_SIMULATOR_URL": "http://127.0.0.1:1"}
CATALOGUE = load_catalogue(
    catalogue(
        {
            "chat": ("small", "large"),
            "logic": ("small", "unlisted"),
            "vision": ("small",),
            "code": ("small",),
            "embed": ("small",),
        },
        models={"large": {"context_tokens": 1_000_000}, "small": {"context_tokens": 8_000}},
        roles={
            "logic": {"parameters": {"max_tokens": 300}, "ceilings": {"max_tokens": 500}},
            "code": {"ceilings": {"max_tokens": 7_000}},
        },
    ),
    source="test",
    env=ENVIRONMENT,
)


class _Prices(dict[str, TokenPrices]):
    def prices_of(self, model: str) -> TokenPrices | None:
        return self.get(model)


ESTIMATOR = CostEstimator(CATALOGUE, _Prices(small=CHEAP, large=DEAR))


def asked(max_tokens: int | None = None, choices: int = 1, **fields: Any) -> HoldRequest:
    request = replace(routed(chat_work(**fields)), max_tokens=max_tokens, choices=choices)
    return ESTIMATOR.hold_request(request, wait_s=2.0)


def test_f1_a_request_reserves_the_cost_at_the_most_expensive_model_of_its_chain() -> None:
    request = asked(max_tokens=100, estimated_tokens=80)
    assert request.picousd == 116 * DEAR.input + 100 * DEAR.output
    assert request.tokens == 216
    assert request.output_tokens == 100


def test_f1_models_that_cannot_serve_the_request_do_not_count() -> None:
    long = asked(max_tokens=100, estimated_tokens=20_000, role="vision")
    assert long.picousd == 0, "no model can serve it, so the worker rejects it"
    assert asked(max_tokens=1, estimated_tokens=8, role="vision").picousd == 26 * CHEAP.input + CHEAP.output


def test_f1_each_of_several_answers_counts() -> None:
    assert asked(max_tokens=100, choices=4).output_tokens == 400


def test_f1_the_limit_of_the_role_counts_where_the_request_has_none() -> None:
    assert asked(role="logic").output_tokens == 300
    assert asked(role="logic", max_tokens=5_000).output_tokens == 500, "the ceiling is what will be sent"
    assert asked(role="code").output_tokens == 7_000, "so is a ceiling alone"


def test_f1_without_any_limit_that_of_the_budgets_is_reserved_and_given_to_the_worker() -> None:
    assert (asked().output_tokens, asked(choices=3).output_tokens) == (4_096, 3 * 4_096)
    assert ESTIMATOR.bounded(routed(chat_work())).work.assumed_output_tokens == 4_096
    limited = replace(routed(chat_work()), max_tokens=9_000)
    of_role = routed(chat_work(role="logic"))
    of_ceiling = routed(chat_work(role="code"))
    for request in (limited, of_role, of_ceiling):
        assert ESTIMATOR.bounded(request).work.assumed_output_tokens is None
    fewer = load_catalogue(
        catalogue({"chat": ["small"]}, budgets={"assumed_output_tokens": 300}), source="test", env=ENVIRONMENT
    )
    estimator = CostEstimator(fewer, _Prices(small=CHEAP))
    assert estimator.hold_request(routed(chat_work()), 0).output_tokens == 300
    assert estimator.bounded(routed(chat_work())).work.assumed_output_tokens == 300


def test_f3_a_default_is_told_from_what_the_request_asks_for() -> None:
    assert asked().output_assumed
    assert asked(role="logic").output_assumed
    assert not asked(max_tokens=10).output_assumed


def test_f4_models_without_a_price_are_named() -> None:
    request = asked(role="logic")
    assert request.unpriced == ("unlisted",)
    assert request.picousd > 0, "the others are counted all the same"


def test_f3_the_batch_lane_is_traffic_of_its_own() -> None:
    assert asked(lane="batch").traffic == "background"
    assert asked().traffic == "chat"


def test_f1_the_hold_names_the_sender_and_expires_a_little_after_the_deadline() -> None:
    request = asked(user="ann", key="abcdefgh", deadline_ms=1_800_000_000_000)
    assert (request.account, request.user, request.key) == ("a", "ann", "abcdefgh")
    assert request.id == "a.c.i"
    assert 1_800_000_000_000 < request.deadline_ms <= 1_800_000_010_000
    assert request.wait_s == 2.0


@given(
    estimated=st.integers(0, 7_000),
    error=st.floats(0.75, 1.25),
    limit=st.integers(1, 5_000),
    used=st.floats(0, 1),
    reasoning=st.floats(0, 1),
)
def test_f1_an_answer_within_its_limit_costs_no_more_than_was_reserved(
    estimated: int, error: float, limit: int, used: float, reasoning: float
) -> None:
    output = int(limit * used)
    usage = Usage(
        input_tokens=int(estimated * error),
        output_tokens=output,
        reasoning_tokens=int(output * reasoning),
    )
    reserved = asked(max_tokens=limit, estimated_tokens=estimated)
    assert all(cost_picousd(usage, prices) <= reserved.picousd for prices in (CHEAP, DEAR))
    assert usage.input_tokens + usage.output_tokens <= reserved.tokens


def test_f3_a_request_for_embeddings_counts_as_embeddings_unless_it_is_background_work() -> None:
    assert asked(role="embed", kind="embed").traffic == "embed"
    assert asked(role="embed", kind="embed", lane="batch").traffic == "background"
    assert asked().traffic == "chat"


def test_h2_f1_an_embed_request_reserves_its_input_alone_however_long_the_texts_are_together() -> None:
    request = asked(kind="embed", role="embed", estimated_tokens=80_000)
    assert request.picousd == 100_016 * CHEAP.input
    assert (request.tokens, request.output_tokens, request.output_assumed) == (100_016, 0, False)
    work = chat_work(kind="embed", role="embed")
    assert ESTIMATOR.bounded(routed(work)).work.assumed_output_tokens is None
