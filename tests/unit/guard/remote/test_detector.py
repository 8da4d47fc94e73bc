"""G1, G2: texts rated by another service."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from penstock.bus.clock import loop_now_s
from penstock.contract.guard.checks import CheckedText
from services.guard.detectors.detector import DetectorUnavailable
from services.guard.detectors.remembered import Remembered
from services.guard.remote.call_limits import CallLimits
from services.guard.remote.detector import RemoteDetector
from services.guard.remote.rater import CallFailed, Piece, Rating


class Rater:
    """Flags pieces with `bad`; fails for pieces with `fail`."""

    name = "openai_moderation"
    piece_characters = 1_000
    call_pieces = 2

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    async def rate(self, pieces: Sequence[Piece]) -> Sequence[Rating]:
        self.calls.append([piece.text for piece in pieces])
        await asyncio.sleep(1)
        if any("fail" in piece.text for piece in pieces):
            raise CallFailed("quota", "HTTP 429", 5.0)
        return [Rating({"hate": 0.9} if "bad" in each.text else {}, {"hate": 0.1}) for each in pieces]


@pytest.fixture
def rater() -> Rater:
    return Rater()


def detector(rater: Rater, remembered: Remembered | None = None) -> RemoteDetector:
    limits = CallLimits(10, None, 5.0, loop_now_s)
    return RemoteDetector(rater, limits, remembered or Remembered(loop_now_s))


def texts(*given: str) -> list[CheckedText]:
    return [CheckedText(text=text) for text in given]


async def test_g1_findings_name_their_text_and_equal_pieces_are_rated_once(rater):
    found = await detector(rater).detect(texts("fine", "bad", "fine", "bad" + "x" * 3_000))
    assert [(each.text, each.category, each.score) for each in found.findings] == [
        (1, "hate", 0.9),
        (3, "hate", 0.9),
    ]
    assert found.scores == {"hate": 0.1}
    assert [len(call) for call in rater.calls] == [2, 2, 1], "the middle of the long text repeats"


async def test_g2_the_calls_of_one_check_run_at_the_same_time(rater):
    began_s = loop_now_s()
    await detector(rater).detect(texts(*map(str, range(20))))
    assert loop_now_s() - began_s == pytest.approx(1.0, abs=0.01)


async def test_g2_what_was_rated_is_not_rated_again_for_a_while(rater):
    asked = detector(rater)
    await asked.detect(texts("one", "two"))
    found = await asked.detect(texts("one", "two", "bad"))
    assert rater.calls == [["one", "two"], ["bad"]]
    assert len(found.findings) == 1
    await asyncio.sleep(601)
    await asked.detect(texts("one"))
    assert rater.calls[2:] == [["one"]]


async def test_g2_a_text_of_a_model_is_rated_apart_from_the_same_of_a_user(rater):
    await detector(rater).detect([CheckedText(text="one"), CheckedText(text="one", origin="output")])
    assert rater.calls == [["one", "one"]]


async def test_g2_a_failed_call_keeps_what_the_others_found(rater):
    with pytest.raises(DetectorUnavailable, match="no quota") as caught:
        await detector(rater).detect(texts("bad", "fine", "fail", "x"))
    assert [each.text for each in caught.value.found.findings] == [0]


async def test_g2_too_much_text_is_not_rated(rater):
    with pytest.raises(DetectorUnavailable, match="too much text"):
        await detector(rater).detect(texts("x".join(map(str, range(40_000)))))
    assert rater.calls == []
