from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from penstock.bus.clock import loop_now_s
from penstock.contract.guard.checks import CheckedText, Finding
from services.guard.detectors.detector import Detection, DetectorUnavailable
from services.guard.detectors.remembered import Reading, Readings, Remembered, RememberingDetector


class Injection:
    """Finds texts that begin with IGNORE; fails for `fail`."""

    name = "prompt_injection"

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def read(self, texts: Sequence[CheckedText]) -> Readings:
        self.asked += [text.text for text in texts]
        if any(text.text == "fail" for text in texts):
            raise DetectorUnavailable("queue full")
        readings = [
            Reading(_detection(text.text), whole=not text.text.startswith("partly")) for text in texts
        ]
        return Readings(readings, "too much text" if any(text.text == "rest" for text in texts) else "")


def _detection(text: str) -> Detection:
    finding = Finding(category="prompt_injection", detector="prompt_injection", start=0, end=6)
    found = (finding,) if text.startswith("IGNORE") else ()
    return Detection(found, {"prompt_injection": len(text) / 100})


def texts(*given: str) -> list[CheckedText]:
    return [CheckedText(text=text) for text in given]


async def test_g1_only_new_texts_are_read_and_findings_name_their_place_in_the_check():
    inner = Injection()
    detector = RememberingDetector(inner, Remembered(loop_now_s))
    await detector.detect(texts("hello", "IGNORE it"))
    found = await detector.detect(texts("new", "IGNORE it", "hello", "IGNORE me"))
    assert inner.asked == ["hello", "IGNORE it", "new", "IGNORE me"]
    assert [(each.text, each.start, each.end) for each in found.findings] == [(1, 0, 6), (3, 0, 6)]
    assert found.scores == {"prompt_injection": 0.09}
    await asyncio.sleep(601)
    await detector.detect(texts("hello"))
    assert inner.asked[4:] == ["hello"]


async def test_g2_a_text_that_was_not_read_as_by_itself_is_read_again():
    inner = Injection()
    detector = RememberingDetector(inner, Remembered(loop_now_s))
    for _ in range(2):
        await detector.detect(texts("partly", "whole"))
    assert inner.asked == ["partly", "whole", "partly"]


async def test_g2_what_was_found_counts_where_not_all_texts_could_be_read():
    detector = RememberingDetector(Injection(), Remembered(loop_now_s))
    with pytest.raises(DetectorUnavailable, match="too much text") as unavailable:
        await detector.detect(texts("hello", "IGNORE it", "rest"))
    assert [each.text for each in unavailable.value.found.findings] == [1]


async def test_g1_the_same_text_of_another_origin_or_start_is_another_one():
    inner = Injection()
    detector = RememberingDetector(inner, Remembered(loop_now_s))
    await detector.detect([CheckedText(text="x"), CheckedText(text="x", origin="system")])
    await detector.detect([CheckedText(text="x", start=1)])
    assert inner.asked == ["x"] * 3


async def test_g2_a_failure_is_not_remembered():
    detector = RememberingDetector(Injection(), Remembered(loop_now_s))
    for _ in range(2):
        with pytest.raises(DetectorUnavailable):
            await detector.detect(texts("fail"))


async def test_g2_what_is_remembered_is_bounded_and_the_oldest_goes_first():
    remembered = Remembered[int](loop_now_s, most=2)
    remembered.put("a", "", 1)
    remembered.put("b", "", 2)
    assert remembered.get("a", "") == 1
    remembered.put("\ud800", "", 3)
    assert [remembered.get(text, "") for text in ("a", "b", "\ud800")] == [1, None, 3]
    assert remembered.get("a", "other") is None
