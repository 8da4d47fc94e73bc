"""D1, D3: an attempt leaves time for another one, and silence until the deadline counts as a failure."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from penstock.bus.clock import loop_now_s
from penstock.runtime.config.catalogue import Catalogue, Model, ProviderConfig, RoleConfig, Timeouts
from penstock.runtime.reply_publisher import AnnouncedAttempt
from services.worker.execution.state import GaveUp
from services.worker.execution.time_limits import AnswerTimes, shortened
from tests.harness.suite.virtual_time import run
from tests.unit.worker.worker_parts import AmpleRoom, UnstoredUsage, WorkerParts, catalogue_of


@pytest.mark.parametrize(
    ("timeouts", "left_s", "usual_s", "first_s", "non_streaming_s"),
    [
        (Timeouts(), 90.0, 0.0, 20.0, 60.0),
        (Timeouts(), 3.0, 0.0, 1.5, 2.0),
        (Timeouts(), 30.0, 0.0, 15.0, 20.0),
        (Timeouts(), 3.0, 1.2, 1.8, 2.0),
        (Timeouts(), 3.0, 30.0, 20.0, 45.0),
        (Timeouts(total_s=120, non_streaming_s=110, first_token_s=60), 120.0, 0.0, 60.0, 108.0),
    ],
)
def test_d1_the_time_limit_depends_on_time_left_role_and_usual_time(
    timeouts: Timeouts, left_s: float, usual_s: float, first_s: float, non_streaming_s: float
) -> None:
    limits = shortened(timeouts, left_s, usual_s)
    assert limits.first_token_s == pytest.approx(first_s, abs=0.01)
    assert limits.non_streaming_s == pytest.approx(non_streaming_s, abs=0.01)
    assert limits.between_tokens_s == timeouts.between_tokens_s


def test_the_slowest_recent_answer_is_known_by_model_and_kind() -> None:
    times = AnswerTimes()
    assert times.slowest_s("m", stream=True) == 0
    times.add("m", 9.0, stream=True)
    for _ in range(20):
        times.add("m", 1.0, stream=True)
    times.add("m", 5.0, stream=False)
    assert times.slowest_s("m", stream=True) == 1.0
    assert times.slowest_s("m", stream=False) == 5.0


CHAIN = Catalogue(
    name="test",
    providers={"p": ProviderConfig(api_key_env=("A_KEY",))},
    models={"a": Model(provider="p"), "b": Model(provider="p")},
    roles={"chat": RoleConfig(chain=("a", "b"))},
)


async def test_d1_the_last_model_of_a_chain_has_all_the_time_left() -> None:
    parts = WorkerParts(CHAIN, ("A_KEY",))
    time_limits, execution = parts.time_limits, parts.execution(lasts_s=3)
    execution.chain = ("a", "b")
    assert time_limits.limits(execution, "a").first_token_s == pytest.approx(1.5, abs=0.05)
    execution.history.not_before_s["a"] = 1.0
    assert time_limits.limits(execution, "b") is execution.role.timeouts
    execution.history.not_before_s.clear()
    execution.history.excluded.add("b")
    assert time_limits.limits(execution, "a") is execution.role.timeouts, "no other model could answer"


class _Reply(AmpleRoom):
    attempt = 0

    async def begin_attempt(self, _: AnnouncedAttempt, **_yields: bool) -> bool:
        self.attempt += 1
        return False


class _Silent:
    """A provider that accepts a request and never answers."""

    name, rate_limit_headers, credentials = "p", "openai", ("A_KEY",)
    stream_format: Any = None

    async def chat(self, *_: Any) -> Any:
        await asyncio.Event().wait()


@pytest.mark.parametrize(("lasts_s", "state"), [(3.0, "open"), (0.5, "closed")])
def test_d3_a_call_silent_until_the_deadline_is_a_failure(lasts_s: float, state: str) -> None:
    async def five() -> str:
        catalogue = catalogue_of()
        parts = WorkerParts(catalogue, ("A_KEY",), provider=_Silent(), recorder=UnstoredUsage(catalogue))
        executor = parts.chain_executor()
        for _ in range(5):
            with pytest.raises(GaveUp) as caught:
                await executor.execute(parts.execution(_Reply(), lasts_s=lasts_s))
            assert caught.value.code == "deadline_exceeded"
        return parts.availability.breakers["m"].state

    assert run(five()) == state


async def test_d1_a_usually_slow_model_is_not_cut_short() -> None:
    parts = WorkerParts(CHAIN, ("A_KEY",))
    time_limits, execution = parts.time_limits, parts.execution(lasts_s=3)
    execution.chain = ("a", "b")
    time_limits.note_answer(execution, "a", loop_now_s() - 1.6, None)
    limits = time_limits.limits(execution, "a")
    assert max(limits.first_token_s, limits.non_streaming_s) >= 2.4
