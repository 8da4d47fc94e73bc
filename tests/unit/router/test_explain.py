"""B5: `explain` describes what a worker would do."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from penstock.contract.explain import WeightedModels
from penstock.contract.names import Complexity
from penstock.contract.work import ChatWork
from penstock.runtime.config.catalogue import (
    Catalogue,
    Model,
    Price,
    ProviderConfig,
    RoleConfig,
    WeightedStep,
)
from penstock.runtime.config.retrieval import Embedding, Retrieval
from services.router.explain import account_of, explained
from tests.harness.requests.routed_requests import chat_work

CATALOGUE = Catalogue(
    name="two",
    providers={"p": ProviderConfig()},
    models={
        "small": Model(provider="p", context_tokens=8_000, price=Price(input=1, output=1)),
        "large": Model(provider="p", context_tokens=100_000, price=Price(input=9, output=9)),
    },
    roles={"chat": RoleConfig(chain=("small", "large"))},
)


def work(**more) -> ChatWork:
    return chat_work(**({"complexity": "medium", "why": "nothing special", "estimated_tokens": 10} | more))


@pytest.mark.parametrize(
    ("complexity", "expected"),
    [("simple", ("small", "large")), ("medium", ("small", "large")), ("complex", ("large", "small"))],
)
def test_b2_explain_lists_models_in_the_order_of_attempts(
    complexity: Complexity, expected: tuple[str, ...]
) -> None:
    assert explained(work(complexity=complexity), CATALOGUE).chain == expected


def test_a7_explain_lists_the_weights_of_models_that_can_serve() -> None:
    step = WeightedStep(models=("small", "large", "other"), weights=(5, 3, 2))
    catalogue = Catalogue(
        name="three",
        providers=CATALOGUE.providers,
        models={**CATALOGUE.models, "other": CATALOGUE.models["large"]},
        roles={"chat": RoleConfig(chain=step.models, weighted=(step,))},
    )
    assert explained(work(), catalogue).weighted == (WeightedModels(models=step.models, weights=(5, 3, 2)),)
    left = WeightedModels(models=("large", "other"), weights=(3, 2))
    assert explained(work(estimated_tokens=20_000), catalogue).weighted == (left,)
    assert explained(work(estimated_tokens=500_000), catalogue).weighted == ()
    assert explained(work(), CATALOGUE).weighted == ()


def test_explain_omits_models_that_cannot_serve() -> None:
    assert explained(work(estimated_tokens=20_000), CATALOGUE).chain == ("large",)


def test_d10_explain_gives_the_reason_if_no_model_can_serve() -> None:
    too_long = explained(work(estimated_tokens=500_000), CATALOGUE)
    blind = explained(work(vision=True), CATALOGUE)

    assert (too_long.chain, blind.chain) == ((), ())
    assert too_long.why == "nothing special; too long for every model of the role"
    assert blind.why.endswith("no model of the role reads images")


@pytest.mark.parametrize(
    ("data", "account"),
    [
        (b'{"type": "chat_request"}', "explain"),
        (b'{"account": "acme"}', "acme"),
        (b'{"account": "a.b"}', None),
        (b'{"account": 5}', None),
        (b"[1]", None),
        (b"\xff\x00", None),
    ],
)
def test_c3_the_question_may_name_an_account(data: bytes, account: str | None) -> None:
    assert account_of(data) == account


def test_h1_h2_explain_names_the_embedding_models_however_long_the_texts_are_together() -> None:
    vectors = Embedding(dimensions=8)
    catalogue = Catalogue(
        name="vectors",
        providers=CATALOGUE.providers,
        models={
            **CATALOGUE.models,
            "e": Model(provider="p", context_tokens=500, embedding=vectors),
            "own": Model(provider="p", context_tokens=500, embedding=vectors),
        },
        roles={**CATALOGUE.roles, "embed": RoleConfig(chain=("e",))},
        retrieval=Retrieval(),
    )
    assert explained(work(kind="embed", role="embed", estimated_tokens=90_000), catalogue).chain == ("e",)
    index = work(kind="index", role="index")
    assert explained(index, catalogue).chain == ("e",)
    own = replace(catalogue, retrieval=Retrieval(embedding_model="own"))
    assert explained(index, own).chain == ("own",)
