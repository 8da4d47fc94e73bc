"""C4: a provider's limit that the catalogue does not name is learned, and one whose kind it names is used."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import yaml

from penstock.client.client import Client
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.cli_command import run_command
from tests.harness.processes.system import running_system
from tests.harness.providers.token_bucket_provider import Counts, TokenBucketProvider, token_bucket_provider
from tests.harness.requests.replies import ReceivedReply, ask
from tests.harness.suite.examples import cases

PER_MINUTE, CAPACITY = 600, 60
REQUESTS = 160
"""Number of requests. They take 10 s at this limit, and less on a slow machine without one, so the limit is reached."""
ROLE = {"timeouts": {"total_s": 60}, "slots_per_worker": 8}
"""All requests in flight may have been sent before the first 429 is received."""


def config_of(provider: TokenBucketProvider, **limits: object) -> str:
    config = yaml.safe_load(catalogue({"chat": ["limited"]}, role=ROLE, models={"limited": limits}))
    config["providers"]["bucket"] = {"base_url": provider.url}
    config["models"]["limited"]["provider"] = "bucket"
    return yaml.safe_dump(config)


async def ask_all(client: Client, requests: int) -> list[ReceivedReply]:
    return await asyncio.gather(
        *(
            ask(client, f"Question {number}", role="chat", timeout_s=60, stream=bool(number % 2))
            for number in range(requests)
        )
    )


def _check(received: list[ReceivedReply], counts: Counts) -> None:
    """Every request completed with few 429s; how much of the limit is used is shown by a proof and in virtual time."""
    assert [each.code for each in received] == [None] * len(received)
    assert counts.answered == len(received)
    # Without learning there are 2.5 calls per answer and more, with it usually 1.1; a proof bounds them by 1.1.
    assert (counts.answered + counts.refused) / counts.answered <= 1.5


@pytest.mark.timeout(90)
@pytest.mark.parametrize("workers", cases([1, 3], long=[1]))
async def test_c4_a_limit_that_the_catalogue_lacks_is_learned_and_used(tmp_path: Path, workers: int) -> None:
    with token_bucket_provider(PER_MINUTE, CAPACITY) as provider:
        async with running_system(tmp_path, *["chat"] * workers, config=config_of(provider)) as system:
            async with await system.client() as client:
                received = await ask_all(client, REQUESTS)
            learned = (await run_command(system, "status", "--json")).json["learned"]
            _check(received, provider.counts())
    assert learned
    for each in learned:
        assert each["requests_per_minute"] <= 2 * PER_MINUTE
        assert each["kind"] == "token_bucket"
        assert each["write"].endswith("kind: token_bucket}")


@pytest.mark.timeout(90)
async def test_c1_the_refill_of_a_configured_token_bucket_is_used(tmp_path: Path) -> None:
    limits = {"requests_per_minute": 240, "kind": "token_bucket"}
    with token_bucket_provider(240, 240) as provider:
        config = config_of(provider, limits=limits)
        async with (
            running_system(tmp_path, "chat", "chat", config=config) as system,
            await system.client() as client,
        ):
            received = await ask_all(client, 270)
        counts = provider.counts()
    assert [each.code for each in received] == [None] * 270
    assert counts.refused == 0
    assert counts.lasted_s < 55, "with a window the last 30 of them would wait for a minute"
