"""F2, F4: what a failed attempt is charged for: reported usage, counted tokens, or nothing."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec import Raw

from penstock.bus.clock import loop_now_s
from penstock.contract.events import UsageRecorded
from penstock.contract.reply import Usage
from penstock.contract.work import ChatWork
from penstock.runtime.accounting.usage_events import AttemptRecord, UsageEvents
from penstock.runtime.config.catalogue import Catalogue, Model, Price, ProviderConfig, RoleConfig
from penstock.runtime.pricing import PriceTable
from penstock.runtime.tokens import with_margin
from services.worker.accounting.charge import NO_CHARGE, Charge
from services.worker.budget.hold_cover import Amount
from services.worker.degradation.shorten import RequestSize
from services.worker.execution.attempt_usage import AttemptUsage, CurrentAttempt
from services.worker.execution.delta_sink import JoinedDelta
from services.worker.execution.missing_counts import MissingCounts
from services.worker.execution.provider_call import Answer
from services.worker.execution.request_bodies import Body
from services.worker.execution.state import Execution
from services.worker.providers.streams.chunks import ChunkReader
from services.worker.providers.usage import TokenCounts
from services.worker.rate_limit.quota import QuotaKey
from services.worker.token_counting.messages import Counted, Produced
from tests.unit.worker.worker_parts import NAMES, WorkerParts

INPUT, OUTPUT = 2, 10
CATALOGUE = Catalogue(
    name="test",
    providers={"p": ProviderConfig(api_key_env=NAMES)},
    models={"m": Model(provider="p", name="their-m", price=Price(input=INPUT, output=OUTPUT))},
    roles={"chat": RoleConfig(chain=("m",))},
)
TEXT = "twelve bytes"
ESTIMATE = Usage(input_tokens=10, output_tokens=3)


class Counter:
    """Answers as the counting process does; None: it cannot be used."""

    def __init__(self, answer: Counted | None) -> None:
        self.answer = answer
        self.asked: list[tuple[str, bytes | None, Produced | None]] = []

    async def count(self, model: str, body: bytes | None, produced: Produced | None) -> Counted | None:
        self.asked.append((model, body, produced))
        return self.answer


class Recorder:
    """Keeps the record that would be stored."""

    def __init__(self, prices: PriceTable) -> None:
        self._events = UsageEvents(CATALOGUE, prices)
        self.records: list[AttemptRecord] = []
        self.counting: list[Callable[[], Awaitable[AttemptRecord]]] = []

    def record(
        self,
        work: ChatWork,
        record: AttemptRecord,
        _trace: str | None = None,
        count: Callable[[], Awaitable[AttemptRecord]] | None = None,
    ) -> UsageRecorded:
        self.records.append(record)
        if count is not None:
            self.counting.append(count)
        return self._events.of(work, record, at_ms=1, worker="w")


class Scene:
    def __init__(self, counter: Counter | None = None, *, stream: bool = True, **asked: Any) -> None:
        parts, prices = WorkerParts(CATALOGUE), PriceTable(CATALOGUE.models)
        self.recorder = Recorder(prices)
        recorder: Any = self.recorder
        counted: Any = counter
        counts = MissingCounts(CATALOGUE.models, prices, counted)
        self.usage = AttemptUsage(CATALOGUE, parts.calibration, parts.degradation, recorder, counts)
        self.execution: Execution = parts.execution(lasts_s=60, stream=stream, **asked)

    def fail(
        self,
        outcome: str,
        chunks: ChunkReader | None = None,
        *,
        refused: bool = False,
        sent: str = TEXT,
        prices: PriceTable | None = None,
    ) -> None:
        """An attempt that ends after it sent a text."""
        attempt = CurrentAttempt(QuotaKey("A_KEY", "m"), 1, Body(b"{}", (), ()), 0.0, outcome=outcome)
        attempt.refused = refused
        attempt.prices = prices
        attempt.progress.chunks = chunks
        attempt.progress.content_bytes = len(sent)
        attempt.progress.headers = {}
        attempt.kept = [JoinedDelta(sent)]
        self.usage.record(self.execution, attempt)

    def whole(self, took_s: float, *, output_tokens: int | None, written_bytes: int = 0) -> int:
        """A call that does not stream; without tokens it was cut. Returns what is charged to limits."""
        attempt = CurrentAttempt(QuotaKey("A_KEY", "m"), 1, Body(b"{}", (), ()), loop_now_s())
        attempt.progress.ended_s = attempt.began_s + took_s
        attempt.progress.content_bytes = written_bytes
        attempt.progress.headers = {}
        if output_tokens is not None:
            counted = TokenCounts(input_tokens=10, output_tokens=output_tokens)
            attempt.answer = Answer(
                finish_reason="stop", response_id=None, model="m", counted=counted, response=Raw(b"{}")
            )
        return self.usage.record(self.execution, attempt)


def chunks(*, finished: bool, **usage: int) -> ChunkReader:
    """A stream with TEXT and this usage."""
    reader = ChunkReader()
    reader.read(json.dumps({"choices": [{"index": 0, "delta": {"content": TEXT}}]}).encode())
    if finished:
        end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        reader.read(json.dumps(end).encode())
    if usage:
        reader.read(json.dumps({"choices": [], "usage": usage}).encode())
    return reader


@pytest.mark.parametrize("outcome", ["rate_limited", "server_error"])
async def test_f2_a_request_refused_before_any_work_costs_nothing(outcome: str) -> None:
    scene = Scene(Counter(Counted(20, 5)))
    scene.fail(outcome, refused=True)
    (record,) = scene.recorder.records
    assert (record.usage, record.estimated) == (Usage(), False)
    assert scene.recorder.counting == []
    assert scene.execution.charged.spent == Amount()


async def test_f2_a_stream_cut_after_its_usage_costs_what_was_reported() -> None:
    scene = Scene(Counter(Counted(20, 5)))
    scene.fail("broken_stream", chunks(finished=True, prompt_tokens=40, completion_tokens=7))
    (record,) = scene.recorder.records
    assert (record.usage, record.estimated) == (Usage(input_tokens=40, output_tokens=7), False)
    assert scene.recorder.counting == []


async def test_f2_a_stream_cut_before_its_usage_is_counted() -> None:
    counter = Counter(Counted(20, 5))
    scene = Scene(counter)
    scene.fail("broken_stream", chunks(finished=False))
    assert scene.recorder.records[0].usage == ESTIMATE
    (count,) = scene.recorder.counting
    counted = await count()
    assert (counted.usage, counted.estimated) == (Usage(input_tokens=20, output_tokens=5), True)
    assert counter.asked == [("their-m", b"{}", Produced(TEXT.encode()))]
    assert scene.execution.charged.spent.picousd == 20 * INPUT + 5 * OUTPUT
    assert scene.execution.charged.spent == Amount(20 * INPUT + 5 * OUTPUT, 25)


async def test_f4_tokens_counted_after_a_price_was_raised_cost_the_old_price() -> None:
    scene = Scene(Counter(Counted(20, 5)))
    old = {"m": Model(provider="p", price=Price(input=1, output=1))}
    scene.fail("broken_stream", chunks(finished=False), prices=PriceTable(old))
    (count,) = scene.recorder.counting
    before = scene.execution.charged.spent.picousd
    await count()
    assert scene.execution.charged.spent.picousd - before == 20 + 5 - 10 - 3


async def test_f2_usage_at_the_beginning_of_a_stream_is_no_count_of_what_followed() -> None:
    counter = Counter(Counted(None, 5))
    scene = Scene(counter)
    scene.fail("cancelled", chunks(finished=False, prompt_tokens=40, completion_tokens=1))
    (count,) = scene.recorder.counting
    assert (await count()).usage == Usage(input_tokens=40, output_tokens=5)
    assert [body for _, body, _ in counter.asked] == [None]


async def test_f2_usage_so_far_is_the_least_that_a_cut_stream_costs() -> None:
    scene = Scene(Counter(Counted(None, 5)))
    scene.fail("stalled", chunks(finished=False, prompt_tokens=40, completion_tokens=9))
    (count,) = scene.recorder.counting
    assert (await count()).usage == Usage(input_tokens=40, output_tokens=9)


async def test_f2_without_the_tokenizer_the_estimate_stays() -> None:
    scene = Scene(Counter(None))
    scene.fail("broken_stream", chunks(finished=False))
    (count,) = scene.recorder.counting
    counted = await count()
    assert (counted.usage, counted.estimated) == (ESTIMATE, True)
    assert scene.execution.charged.spent.picousd == 10 * INPUT + 3 * OUTPUT


async def test_c1_a_cut_call_costs_the_usual_output_and_is_charged_to_limits_with_more() -> None:
    scene = Scene(stream=False)
    for took_s in 10 * (10.0, 5.0):
        assert scene.whole(took_s, output_tokens=100) == 110
    charged = scene.whole(0.3, output_tokens=None)
    cut = scene.recorder.records[-1]
    assert cut.estimated
    assert 4 <= cut.usage.output_tokens <= 5
    assert 6 <= charged - cut.usage.input_tokens <= 9
    assert scene.execution.charged.spent.tokens == 20 * 110 + cut.usage.input_tokens + cut.usage.output_tokens


@pytest.mark.parametrize(("written_bytes", "tokens"), [(0, 0), (120, 30), (1_000_000, 40)])
async def test_f1_a_whole_answer_that_was_cut_costs_no_more_than_was_reserved(
    written_bytes: int, tokens: int
) -> None:
    scene = Scene(stream=False, hold_id="h", hold_tokens=with_margin(10) + 40)
    scene.whole(0.0, output_tokens=None, written_bytes=written_bytes)
    (record,) = scene.recorder.records
    assert (record.usage.output_tokens, record.estimated) == (tokens, True)


async def test_f2_the_tokens_of_a_long_answer_follow_from_the_part_that_was_kept() -> None:
    scene = Scene(Counter(Counted(20, 5)))
    attempt = CurrentAttempt(QuotaKey("A_KEY", "m"), 1, Body(b"{}", (), ()), 0.0, outcome="stalled")
    attempt.progress.headers = {}
    attempt.progress.content_bytes = 10 * len(TEXT)
    attempt.kept = [JoinedDelta(TEXT)]
    scene.usage.record(scene.execution, attempt)
    (count,) = scene.recorder.counting
    assert (await count()).usage.output_tokens == 50


async def test_f4_an_attempt_at_a_model_without_a_price_makes_the_cost_unknown_unless_it_used_nothing() -> (
    None
):
    scene, unpriced = Scene(), PriceTable({})
    scene.fail("rate_limited", refused=True, prices=unpriced)
    scene.fail("broken_stream", chunks(finished=True, prompt_tokens=40, completion_tokens=7))
    assert scene.execution.charged.unpriced_attempts == 0
    known = scene.execution.charged.spent.picousd
    scene.fail("broken_stream", chunks(finished=True, prompt_tokens=40, completion_tokens=7), prices=unpriced)
    assert (scene.execution.charged.unpriced_attempts, scene.execution.charged.spent.picousd) == (1, known)
    assert known == 40 * INPUT + 7 * OUTPUT


async def test_f4_an_attempt_that_was_estimated_at_nothing_is_unpriced_once_tokens_are_counted() -> None:
    scene = Scene(Counter(Counted(20, 0)))
    scene.execution.size = RequestSize(scene.execution.work, 0, 100)
    scene.fail("broken_stream", chunks(finished=False), sent="", prices=PriceTable({}))
    assert scene.execution.charged == NO_CHARGE
    (count,) = scene.recorder.counting
    assert (await count()).usage.input_tokens == 20
    assert scene.execution.charged == Charge(Amount(0, 20), unpriced_attempts=1)
