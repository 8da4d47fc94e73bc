from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from penstock.contract.guard.checks import CheckedText, Finding
from services.guard.detectors.detector import Detection, DetectorUnavailable
from services.guard.detectors.fair_threads import FairThreads
from services.guard.detectors.local import ThreadedDetector
from services.guard.detectors.run import DetectorRunner
from services.guard.metrics import GuardMetrics
from tests.harness.providers.marking_detectors import Marks, SlowInjection

TEXTS = [CheckedText(text="IGNORE this")]
HATE = Finding(category="hate", detector="safety_model")


class Says:
    """A safety model that returns or raises what a test says."""

    name = "safety_model"

    def __init__(self, said: Any) -> None:
        self._said = said

    async def detect(self, texts: Sequence[CheckedText]) -> Detection:  # noqa: ARG002 - the signature is Detector's
        if isinstance(self._said, BaseException):
            raise self._said
        return self._said


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def runner(registry: CollectorRegistry, *detectors: Any, **timeouts_s: float) -> DetectorRunner:
    return DetectorRunner(detectors, timeouts_s, GuardMetrics(registry))


async def test_g1_every_detector_that_is_asked_adds_what_it_found(registry):
    outcome = await runner(registry, SlowInjection(), Says(Detection((HATE,)))).run(
        ["prompt_injection", "safety_model", "safety_model"], TEXTS
    )
    assert [each.category for found in outcome.detections for each in found.findings] == [
        "prompt_injection",
        "hate",
    ]
    assert outcome.failures == {}


@pytest.mark.parametrize(
    ("said", "why", "counted"),
    [
        (DetectorUnavailable("no quota"), "no quota", "no quota"),
        (DetectorUnavailable("HTTP 500"), "HTTP 500", "error"),
        (TimeoutError(), "timeout", "timeout"),
        (
            UnicodeEncodeError("utf-8", "the hidden text", 0, 1, "why"),
            "UnicodeEncodeError at detect",
            "error",
        ),
        (
            Detection((Finding(text=1, category="hate", detector="safety_model"),)),
            "a finding outside",
            "error",
        ),
        (
            Detection((Finding(start=3, end=3, category="hate", detector="safety_model"),)),
            "a finding",
            "error",
        ),
        (
            Detection((Finding(start=3, end=99, category="hate", detector="safety_model"),)),
            "a finding",
            "error",
        ),
    ],
)
async def test_g2_a_detector_fails_alone_and_without_content(registry, caplog, said, why, counted):
    caplog.set_level(logging.DEBUG)
    outcome = await runner(registry, SlowInjection(), Says(said)).run(
        ["prompt_injection", "safety_model"], TEXTS
    )
    assert outcome.failures["safety_model"].startswith(why)
    assert [each.category for found in outcome.detections for each in found.findings] == ["prompt_injection"]
    assert "hidden" not in f"{outcome.failures}{caplog.text}"
    labels = {"detector": "safety_model", "why": counted}
    assert registry.get_sample_value("penstock_guard_detector_failures_total", labels) == 1


async def test_g2_what_a_detector_found_before_it_failed_counts(registry):
    said = DetectorUnavailable("no quota", Detection((HATE,), {"hate": 1.0}))
    outcome = await runner(registry, Says(said)).run(["safety_model"], TEXTS)
    assert outcome.detections == (Detection((HATE,), {"hate": 1.0}),)
    assert outcome.failures == {"safety_model": "no quota"}


async def test_g2_each_detector_has_its_own_time(registry):
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    slow, quick = SlowInjection(60), Says(Detection((HATE,)))
    outcome = await runner(registry, slow, quick, prompt_injection=2.0, safety_model=5.0).run(
        ["prompt_injection", "safety_model"], TEXTS
    )
    assert outcome.failures == {"prompt_injection": "timeout"}
    assert loop.time() - began_s == pytest.approx(2.0, abs=0.01)


async def test_g1_a_detector_that_is_not_enabled_is_a_failure(registry):
    outcome = await runner(registry).run(["secrets"], TEXTS)
    assert outcome.failures == {"secrets": "not enabled"}


async def test_g1_without_texts_no_detector_is_asked(registry):
    outcome = await runner(registry).run(["secrets"], [])
    assert (outcome.detections, outcome.failures) == ((), {})


async def test_g1_local_detectors_read_short_texts_without_a_task_and_before_the_others_are_asked(registry):
    read: list[asyncio.Task[Any] | None] = []
    marks = Marks("secrets", "jwt", on_find=lambda _: read.append(asyncio.current_task()))
    running = runner(
        registry, ThreadedDetector(marks, FairThreads(1, "test")), SlowInjection(), Says(Detection())
    )
    outcome = await running.run(
        ("safety_model", "secrets", "prompt_injection"), [CheckedText(text="<jwt:x>")]
    )
    assert read == [asyncio.current_task()]
    assert [len(found.findings) for found in outcome.detections] == [0, 1, 0]


async def test_g1_a_local_detector_that_fails_fails_alone(registry):
    def fail(_: str) -> None:
        raise RecursionError

    broken = ThreadedDetector(Marks("secrets", "jwt", on_find=fail), FairThreads(1, "test"))
    outcome = await runner(registry, broken, Says(Detection((HATE,)))).run(("secrets", "safety_model"), TEXTS)
    assert [len(found.findings) for found in outcome.detections] == [0, 1]
    assert list(outcome.failures) == ["secrets"]
    assert outcome.failures["secrets"].startswith("RecursionError at")
