from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

import pytest
from nats.js.errors import NotFoundError, ServiceUnavailableError

from penstock.bus.retry import RetryPolicy, read_from_leader, retry
from tests.harness.suite.virtual_time import run


def failing(times: int, error: Exception) -> tuple[Callable[[], object], list[float]]:
    """An operation that fails `times` times and then returns "done", and the loop times of its calls."""
    called_at_s: list[float] = []

    async def operation() -> str:
        called_at_s.append(asyncio.get_running_loop().time())
        if len(called_at_s) <= times:
            raise error
        return "done"

    return operation, called_at_s


def test_waits_double_up_to_the_longest():
    operation, called_at_s = failing(5, OSError())
    policy = RetryPolicy(timeout_s=60, first_wait_s=1, longest_wait_s=4)

    async def main() -> object:
        return await retry(operation, on=(OSError,), report=lambda _: None, policy=policy)

    assert run(main()) == "done"
    waits = [b - a for a, b in itertools.pairwise(called_at_s)]
    assert all(longest / 2 <= wait <= longest for wait, longest in zip(waits, [1, 2, 4, 4, 4], strict=True))


def test_those_that_failed_together_do_not_try_again_together():
    times: list[list[float]] = []

    async def main() -> None:
        policy = RetryPolicy(timeout_s=60, first_wait_s=1, longest_wait_s=4)
        operations = [failing(3, OSError()) for _ in range(20)]
        times.extend(called_at_s for _, called_at_s in operations)
        await asyncio.gather(
            *(retry(each, on=(OSError,), report=lambda _: None, policy=policy) for each, _ in operations)
        )

    run(main())
    assert len({round(called_at_s[-1], 3) for called_at_s in times}) > 10


def test_the_last_error_is_raised_after_the_timeout():
    operation, called_at_s = failing(1_000, OSError("away"))
    reported: list[Exception] = []

    async def main() -> object:
        return await retry(operation, on=(OSError,), report=reported.append, policy=RetryPolicy(timeout_s=10))

    with pytest.raises(OSError, match="away"):
        run(main())
    assert 10 < called_at_s[-1] < 11.1
    assert len(reported) == len(called_at_s) - 1


@pytest.mark.parametrize(
    ("error", "transient"), [(ValueError(), lambda _: True), (OSError(), lambda _: False)]
)
def test_any_other_error_is_raised_at_once(error: Exception, transient: Callable[[Exception], bool]):
    operation, called_at_s = failing(1, error)

    async def main() -> object:
        return await retry(operation, on=(OSError,), report=lambda _: None, transient=transient)

    with pytest.raises(type(error)):
        run(main())
    assert len(called_at_s) == 1


def test_cancellation_ends_the_wait_at_once():
    operation, called_at_s = failing(1_000, OSError())

    async def main() -> float:
        task = asyncio.create_task(
            retry(
                operation,
                on=(OSError,),
                report=lambda _: None,
                policy=RetryPolicy(first_wait_s=10, longest_wait_s=10),
            )
        )
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return asyncio.get_running_loop().time()

    assert run(main()) == pytest.approx(1, abs=0.1)
    assert len(called_at_s) == 1


def test_reading_from_the_leader_outlasts_an_election():
    operation, called_at_s = failing(3, ServiceUnavailableError(code=503))
    assert run(read_from_leader(operation, "a record")) == "done"
    assert len(called_at_s) == 4


def test_reading_from_the_leader_takes_not_found_as_an_answer():
    operation, called_at_s = failing(1, NotFoundError(code=404))
    assert run(read_from_leader(operation, "a record")) is None
    assert len(called_at_s) == 1


def test_reading_from_the_leader_repeats_a_lost_request():
    called = 0

    async def lost_once() -> str:
        nonlocal called
        called += 1
        if called == 1:
            await asyncio.sleep(3600)
        return "done"

    assert run(read_from_leader(lost_once, "a record")) == "done"
