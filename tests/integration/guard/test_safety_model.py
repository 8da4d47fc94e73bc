"""G1, G2: a guard model, asked through its role of the catalogue like by any application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from penstock.bus.connection import connect
from penstock.bus.ids import new_id
from penstock.contract.guard.checks import CheckedText, GuardCheck, GuardVerdict
from penstock.contract.guard.policies import GUARD_ACCOUNT, Direction
from penstock.runtime.guard.client import GuardClient
from services.guard.composition import LoadedLocally
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.guards import running_guard
from tests.harness.processes.system import System, shared_system

CHAINS = {
    "safety": ("llama-guard-4-12b",),
    "safeguard": ("gpt-oss-safeguard-20b",),
    "talks": ("m-talks",),
    "limited": ("limited-guard--429-bare",),
    "down": ("down-guard--503",),
}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    config = catalogue(CHAINS, breaker={"failure_threshold": 10_000})
    with shared_system(tmp_path_factory.mktemp("safety"), ",".join(CHAINS), config=config) as running:
        yield running


@pytest.fixture
async def client(system: System) -> AsyncIterator[GuardClient]:
    nc = await connect(system.nats.url, name="test")
    client = GuardClient(nc)
    await client.start()
    yield client
    await client.stop()
    await nc.close()


def section(role: str, **settings: object) -> dict[str, object]:
    return {
        "input": {"hate": "block", "violence": "flag", "illicit": "flag"},
        "output": {"hate": "block"},
        "detectors": {"safety_model": {"enabled": True, "role": role, "timeout_s": 5, **settings}},
    }


async def verdict(client: GuardClient, text: str, direction: Direction = "input") -> GuardVerdict:
    origin = "user" if direction == "input" else "output"
    texts = (CheckedText(text=text, origin=origin),)
    check = GuardCheck(
        id=new_id(), account="shop", direction=direction, texts=texts, detectors=("safety_model",)
    )
    return await client.check(check, 15)


@pytest.mark.parametrize("direction", ["input", "output"])
@pytest.mark.parametrize(("role", "format_"), [("safety", "llama_guard"), ("safeguard", "gpt_oss_safeguard")])
async def test_g1_the_answer_of_a_guard_model_is_a_verdict(
    system: System, client: GuardClient, role: str, format_: str, direction: Direction
) -> None:
    config = section(role, format=format_)
    async with running_guard(system.nats.url, config, LoadedLocally(), chains=CHAINS):
        safe = await verdict(client, "How do I bake bread?", direction)
        unsafe = await verdict(client, "I hate all of them", direction)
    assert (safe.action, safe.failures) == ("allow", ())
    assert safe.scores["hate"] == 0
    assert [(each.category, each.action, each.detector) for each in unsafe.findings] == [
        ("hate", "block", "safety_model")
    ]


async def test_g1_the_model_is_called_for_the_account_of_the_guard_and_once_for_each_text(
    system: System, client: GuardClient
) -> None:
    async with running_guard(system.nats.url, section("safety"), LoadedLocally(), chains=CHAINS):
        before = await system.attempts("llama-guard-4-12b")
        for _ in range(3):
            await verdict(client, "Will you kill him?")
    assert await system.attempts("llama-guard-4-12b") == before + 1
    assert f'account="{GUARD_ACCOUNT}"' not in await system.metrics(), "accounts are no labels"


@pytest.mark.parametrize(
    ("role", "why"),
    [
        ("talks", "the answer of the safety model is neither safe nor unsafe"),
        ("limited", "no quota"),
        ("down", "the safety model: provider_unavailable"),
    ],
)
async def test_g2_a_model_that_fails_is_a_failure_of_the_detector(
    system: System, client: GuardClient, role: str, why: str
) -> None:
    async with running_guard(system.nats.url, section(role, timeout_s=3), LoadedLocally(), chains=CHAINS):
        found = await verdict(client, f"some text {new_id()}")
    assert [each.detector for each in found.failures] == ["safety_model"]
    assert found.failures[0].why in {why, "timeout"}
    assert not found.refuses
