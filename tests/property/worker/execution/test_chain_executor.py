"""D2, D3: requests against providers that fail at random, are down or recover, in simulated time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from itertools import count
from random import Random
from typing import Any, Final, NamedTuple

import pytest

from penstock.bus.clock import loop_now_s
from penstock.runtime.config.catalogue import Breaker, Catalogue, Model, ProviderConfig, RoleConfig
from services.worker.execution.state import Execution, GaveUp
from services.worker.providers.errors.failures import FailureKind, ProviderFailure
from tests.harness.suite.examples import examples
from tests.harness.suite.virtual_time import run
from tests.unit.worker.worker_parts import WorkerParts

SLOTS: Final = 16
OPENAI: Final = Breaker(open_s=60, max_open_s=60, probe_interval_s=30)
BROKEN: Final[tuple[tuple[FailureKind, float], ...]] = (
    ("broken_stream", 0.5),
    ("connection", 0.5),
    ("malformed", 0.5),
    ("stalled", 15.0),
)
"""Failures of a stream, each with the seconds after which it occurs."""

RETRY_AFTER_S: Final = (0.5, 1.0, None)
"""Values of the Retry-After header of 429s, in seconds; None: without the header."""


class _Reply:
    attempt = 0
    waits_for_room = False


class _Answer(NamedTuple):
    model: str
    response: None = None


class World:
    """One worker; `outcome` determines the result of its provider calls."""

    def __init__(
        self, chain: tuple[str, ...], outcome: Callable[[], FailureKind | None], breaker: Breaker, seed: int
    ) -> None:
        catalogue = Catalogue(
            name="test",
            providers={"p": ProviderConfig(api_key_env=("A_KEY",))},
            models={model: Model(provider="p") for model in chain},
            roles={"chat": RoleConfig(chain=chain)},
            breaker=breaker,
        )
        self.parts = WorkerParts(catalogue, ("A_KEY",))
        self.executor = self.parts.chain_executor(attempts=self)
        self.outcome = outcome
        self._number = count()
        self._hint_s = RETRY_AFTER_S[seed % len(RETRY_AFTER_S)]
        self.calls: list[float] = []
        self.ends: Counter[str] = Counter()
        self.slowest_s = 0.0

    async def run(self, execution: Execution, key: Any, spent: Any) -> Any:
        """Replaces `Attempts.run`."""
        self.calls.append(loop_now_s())
        failed = self.outcome()
        spent.tokens = 10
        if failed is None:
            await asyncio.sleep(1.0)
            return _Answer(key.model)
        took_s = dict(BROKEN).get(failed, 0.05)
        await asyncio.sleep(took_s)
        execution.history.output_sent = took_s > 0.05
        raise ProviderFailure(
            failed, failed, retry_after_s=self._hint_s if failed == "rate_limited" else None
        )

    async def ask(self, lasts_s: float = 60.0) -> None:
        reply: Any = _Reply()
        began_s = loop_now_s()
        try:
            await self.executor.execute(self._execution(reply, lasts_s))
        except GaveUp as gave_up:
            self.ends[gave_up.code] += 1
        else:
            self.ends["completed"] += 1
            self.slowest_s = max(self.slowest_s, loop_now_s() - began_s)

    def _execution(self, reply: Any, lasts_s: float) -> Execution:
        """Each request has other content, or a breaker would count their failures as one."""
        return self.parts.execution(reply, lasts_s=lasts_s, body={"seed": next(self._number)})

    async def ask_all(self, number: int) -> None:
        """Run the requests with all slots busy until the last one."""
        left = iter(range(number))

        async def slot() -> None:
            for _ in left:
                await self.ask()

        await asyncio.gather(*(slot() for _ in range(SLOTS)))


def at_random(random: Random) -> FailureKind | None:
    """10% 429, 10% 5xx, 31% of the streams truncated, cut, malformed or stalled."""
    drawn = random.random()
    if drawn < 0.1:
        return "rate_limited"
    if drawn < 0.2:
        return "server_error"
    return random.choice(BROKEN)[0] if random.random() < 0.31 else None


@pytest.mark.parametrize("breaker", [Breaker(), OPENAI], ids=["default", "openai"])
@pytest.mark.parametrize("chain", [("a",), ("a", "b"), ("a", "b", "c")], ids=len)
def test_d2_random_failures_leave_almost_no_request_unanswered(
    chain: tuple[str, ...], breaker: Breaker
) -> None:
    ends: Counter[str] = Counter()
    seeds = examples(10)
    for seed in range(seeds):
        random = Random(seed)
        world = World(chain, lambda: at_random(random), breaker, seed)  # noqa: B023
        run(world.ask_all(300))
        assert world.ends["completed"] >= 0.98 * 300, (seed, world.ends)
        ends += world.ends
    assert ends["completed"] >= 0.99 * 300 * seeds, ends
    assert ends["deadline_exceeded"] <= 3, ends


def test_d3_a_provider_that_is_down_is_called_once_in_five_seconds() -> None:
    world = World(("a",), lambda: "server_error", Breaker(), 1)
    run(world.ask_all(SLOTS))
    assert world.ends["completed"] == 0
    late = [at_s for at_s in world.calls if at_s > 5]
    assert len(late) <= 60 / 5 + 1
    assert len(world.calls) <= SLOTS + len(late) + 5


@pytest.mark.parametrize("breaker", [Breaker(), OPENAI], ids=["default", "openai"])
@pytest.mark.parametrize("period_s", [0.5, 2.0, 5.0, 14.0])
def test_d3_a_request_succeeds_a_second_after_a_provider_flapped(breaker: Breaker, period_s: float) -> None:
    def flapping() -> FailureKind | None:
        now_s = loop_now_s()
        return "server_error" if now_s < 60 and now_s // period_s % 2 == 0 else None

    async def a_minute_and_then_one_request(world: World) -> None:
        asking = [asyncio.create_task(world.ask_all(2_000))]
        await asyncio.sleep(61.0)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        world.ends.clear()
        await world.ask(lasts_s=10.0)

    world = World(("a", "b"), flapping, breaker, 1)
    run(a_minute_and_then_one_request(world))
    assert world.ends == {"completed": 1}
    assert world.slowest_s < 60
