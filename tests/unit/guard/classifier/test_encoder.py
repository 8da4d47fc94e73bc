"""G4, B3: sentence vectors, and the batches in which they are computed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence

import numpy as np
import pytest
import pytest_asyncio

from services.guard.classifier.batching import BatchingEncoder, EncoderOverloaded
from services.guard.classifier.encoder import Encoder, Vectors, cost_of, encodable
from services.guard.detectors.turns import turn_of


class Counting:
    """Rows that hold the length of each text; waits for `go` in the thread of the batches, and then for each batch of
    which `allowed` has no more.
    """

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.go = threading.Event()
        self.allowed = threading.Semaphore(1_000)
        self.begun = threading.Event()

    def encode(self, texts: Sequence[str]) -> Vectors:
        self.begun.set()
        assert self.go.wait(10)
        assert self.allowed.acquire(timeout=10)
        self.batches.append(list(texts))
        if "fails" in texts:
            raise ValueError("no vector")
        return np.array([[len(text)] for text in texts], dtype=np.float32)

    async def running(self) -> None:
        while not self.begun.is_set():
            await asyncio.sleep(0.001)


@pytest_asyncio.fixture
async def counting() -> AsyncIterator[tuple[Counting, BatchingEncoder]]:
    model = Counting()
    batches = BatchingEncoder(model, most_waiting=6)  # type: ignore[arg-type]
    yield model, batches
    model.go.set()
    await batches.close()


pytestmark = pytest.mark.real_time


def test_b3_vectors_have_length_one_and_do_not_depend_on_the_batch(encoder: Encoder) -> None:
    texts = ["Hello", "Привет, как дела?", "Merhaba " * 100, ""]
    together = encoder.encode(texts)
    alone = np.vstack([encoder.encode([text]) for text in texts])
    assert together.shape == (4, 512)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-4)
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_b3_only_the_first_400_characters_count(encoder: Encoder) -> None:
    text = "word " * 80
    np.testing.assert_allclose(*encoder.encode([text, text + "and much more " * 1000]), atol=1e-5)


def test_g4_a_character_with_a_long_form_takes_no_more_time_than_a_cut_text() -> None:
    assert len(encodable("\ufdfa" * 400, 400)) == 400
    assert cost_of("\ufdfa" * 400) > 400 * 18
    assert cost_of("words of prose") == 14 < cost_of("1a2b3c4d5e6f7g") < cost_of("漢" * 14)


def test_g1_a_text_with_lone_surrogates_is_encoded(encoder: Encoder) -> None:
    assert np.isfinite(encoder.encode(["broken \ud800 text"])).all()


async def test_g4_texts_that_arrive_during_a_batch_form_the_next(
    counting: tuple[Counting, BatchingEncoder],
) -> None:
    model, batches = counting
    first = asyncio.create_task(batches.run(model.encode, ["a"]))
    await model.running()
    others = [asyncio.create_task(batches.run(model.encode, ["b" * n] * n)) for n in (2, 3)]
    await asyncio.sleep(0)
    model.go.set()
    assert [row.tolist() for row in await asyncio.gather(first, *others)] == [[[1]], [[2]] * 2, [[3]] * 3]
    assert [len(batch) for batch in model.batches] == [1, 5]


async def test_g4_a_cancelled_caller_leaves_the_queue(counting: tuple[Counting, BatchingEncoder]) -> None:
    model, batches = counting
    first = asyncio.create_task(batches.run(model.encode, ["a"]))
    await model.running()
    gone, stays = (asyncio.create_task(batches.run(model.encode, [text])) for text in ("gone", "stays"))
    await asyncio.sleep(0)
    gone.cancel()
    first.cancel()
    await asyncio.wait([gone, first])
    model.go.set()
    assert (await stays).tolist() == [[5]]
    assert model.batches == [["a"], ["stays"]]


async def test_g4_the_queue_is_bounded(counting: tuple[Counting, BatchingEncoder]) -> None:
    model, batches = counting
    first = asyncio.create_task(batches.run(model.encode, ["a"]))
    await model.running()
    waiting = asyncio.create_task(batches.run(model.encode, ["b"] * 6))
    await asyncio.sleep(0)
    with pytest.raises(EncoderOverloaded):
        await batches.run(model.encode, ["c"])
    model.go.set()
    await asyncio.gather(first, waiting)
    assert (await batches.run(model.encode, ["c"])).tolist() == [[1]]


async def test_g4_a_small_check_waits_for_one_batch_of_a_large_one(
    counting: tuple[Counting, BatchingEncoder],
) -> None:
    model, _ = counting
    model.allowed = threading.Semaphore(2)
    batches = BatchingEncoder(model)  # type: ignore[arg-type]

    async def check(account: str, texts: list[str]) -> None:
        with turn_of(account):
            await batches.run(model.encode, texts)

    large = [asyncio.create_task(check("large", ["x" * 400] * 300)) for _ in range(3)]
    await model.running()
    small = asyncio.create_task(check("small", ["small"] * 2))
    await asyncio.sleep(0)
    model.go.set()
    await asyncio.wait_for(small, 5)
    assert len(model.batches) == 2
    assert "small" in model.batches[1]
    assert all(sum(map(len, batch)) <= 1_500 for batch in model.batches)
    for task in large:
        task.cancel()
    await asyncio.wait(large)
    model.allowed.release(1_000)
    await batches.run(model.encode, ["last"])
    assert len(model.batches) <= 4, "the texts of those that were given up are not encoded"
    await batches.close()


async def test_g4_a_full_queue_of_one_account_has_room_for_others(
    counting: tuple[Counting, BatchingEncoder],
) -> None:
    model, batches = counting
    first = asyncio.create_task(batches.run(model.encode, ["a"]))
    await model.running()
    full = asyncio.create_task(batches.run(model.encode, ["b"] * 6))
    await asyncio.sleep(0)
    with turn_of("other"):
        other = asyncio.create_task(batches.run(model.encode, ["c"]))
    await asyncio.sleep(0)
    model.go.set()
    assert (await other).tolist() == [[1]]
    await asyncio.gather(first, full)


async def test_g4_a_failing_batch_fails_its_callers_and_no_others(
    counting: tuple[Counting, BatchingEncoder],
) -> None:
    model, batches = counting
    model.go.set()
    with pytest.raises(ValueError, match="no vector"):
        await batches.run(model.encode, ["fails"])
    assert (await batches.run(model.encode, ["works"])).tolist() == [[5]]


async def test_g4_closing_ends_the_callers_that_wait(counting: tuple[Counting, BatchingEncoder]) -> None:
    model, batches = counting
    calls = [asyncio.create_task(batches.run(model.encode, [text])) for text in "ab"]
    await model.running()
    await batches.close()
    model.go.set()
    _, pending = await asyncio.wait(calls, timeout=5)
    assert not pending
    assert all(call.cancelled() for call in calls)
