"""G3: the output filter with the guard's own detectors: a stream is redacted as the whole text would be."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from itertools import chain
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from penstock.bus.tracing import NO_TRACER
from penstock.contract.guard.checks import CheckedText, GuardCheck
from penstock.contract.guard.policies import KINDS, PLACED_DETECTORS
from penstock.runtime.config.guard import Guard
from penstock.runtime.guard.effective_policy import effective_policy
from services.guard.personal_data.detector import PersonalDataDetector
from services.guard.secrets.detector import SecretDetector
from services.worker.guard.guard_checks import CheckedRequest, GuardChecks
from services.worker.guard.metrics import RequestGuardMetrics
from services.worker.guard.output_filter import OutputFilter, OutputRules
from services.worker.guard.placeholders import Placeholders
from services.worker.providers.streams.chunks import ChunkDelta
from tests.harness.guard.heldout_findings import heldout_texts
from tests.harness.guard.labelled_findings import labelled_texts
from tests.harness.guard.local_guard import LocalGuard
from tests.harness.guard.streamed_texts import chunks_of, texts_with
from tests.harness.guard.synthetic_values import synthetic
from tests.harness.guard.written_forms import FORMS, HARMLESS_FORMS

_NAMES: Final = {
    "generic_secret": "password = ",
    "ru_inn": "ИНН ",
    "ru_snils": "СНИЛС ",
    "ru_passport": "паспорт ",
    "tr_tckn": "TCKN ",
    "us_ssn": "SSN ",
    "phone": "call ",
}
"""Words before values that are found by their names only."""
_KINDS: Final = [kind for kinds in KINDS.values() for kind in kinds if kind != "other_secret"]
_POLICY: Final = effective_policy(Guard(output={"secrets": "redact", "personal_data": "redact"}), "a", {})


def _named(kind: str, seed: int) -> str:
    return _NAMES.get(kind, "") + synthetic(kind, random.Random(seed))


_VALUES: Final = st.builds(_named, st.sampled_from(_KINDS), st.integers(0, 2**32))


@pytest.fixture(scope="module")
def guard() -> LocalGuard:
    return LocalGuard(_POLICY, SecretDetector(), PersonalDataDetector())


async def _streamed(guard: LocalGuard, chunks: Sequence[str]) -> str:
    """What a client receives of these chunks."""
    output = OutputFilter(
        OutputRules(
            CheckedRequest("r", "a", "", _POLICY, None),
            GuardChecks(guard, 1.0, NO_TRACER, RequestGuardMetrics(CollectorRegistry())),
            Placeholders(),
            searching=PLACED_DETECTORS,
            moderating=(),
            window_characters=100,
            refuse=pytest.fail,
        )
    )
    items = [*(item for chunk in chunks for item in output.take(ChunkDelta(chunk))), *output.rest()]
    shown = map(output.shown, await output.check(items))
    return "".join(delta.text for delta in shown if delta is not None)


async def _redacted(guard: LocalGuard, text: str) -> str:
    """The whole text, redacted at once."""
    texts = (CheckedText(text=text, origin="output"),)
    check = GuardCheck(id="r", account="a", direction="output", texts=texts, detectors=PLACED_DETECTORS)
    return Placeholders().replace(text, (await guard.check(check)).findings)


@given(st.data())
def test_g3_a_stream_is_redacted_as_the_whole(guard: LocalGuard, data: st.DataObject) -> None:
    text = data.draw(texts_with(_VALUES, noise=False))
    chunks = data.draw(chunks_of(text))
    assert asyncio.run(_streamed(guard, chunks)) == asyncio.run(_redacted(guard, text))


async def test_g3_the_labelled_texts_are_redacted_as_the_whole(guard: LocalGuard) -> None:
    for labelled in chain(labelled_texts(seed=11), heldout_texts()):
        shown = await _streamed(guard, [labelled.text])
        assert shown == await _redacted(guard, labelled.text), labelled.line


@pytest.mark.parametrize("before", ["\n", "\t", "\b", "\u00a0", "\u0085", '"', "/", "\U0001f642", "\ud83d"])
@pytest.mark.parametrize(
    "harmless", ["@app.get ", "no-reply@river-mill.org ", "rev 95.217.33.4 ", "@x http://db:"]
)
async def test_g3_an_escape_sequence_is_no_part_of_a_finding_in_a_stream_or_the_whole(
    guard: LocalGuard, before: str, harmless: str
) -> None:
    for ascii_only in (True, False):
        text = json.dumps({"body": f"the{before}{harmless}{before}a@b"}, ensure_ascii=ascii_only)
        assert await _streamed(guard, [text]) == await _redacted(guard, text) == text
        assert await _streamed(guard, list(text)) == text


async def test_g3_an_escaped_blank_before_a_decorator_is_no_address_however_it_is_cut(
    guard: LocalGuard,
) -> None:
    chunks = ["{", '"body"', ': "the', "\\u00a0", "@ap", "p.g", "et th", 'e "}']
    assert await _streamed(guard, chunks) == await _redacted(guard, "".join(chunks)) == "".join(chunks)


async def test_g3_a_token_behind_a_backslash_is_redacted_as_in_the_whole(guard: LocalGuard) -> None:
    text = "C:\\keys\\" + synthetic("npm_token", random.Random(3)) + " "
    assert await _streamed(guard, list(text)) == await _redacted(guard, text) == "C:\\keys\\n[NPM_TOKEN_1] "


@pytest.mark.parametrize("number", ["10.0.0.5 ", "12:30  ", "1 234,50\u00a0", "page 7 "])
@pytest.mark.parametrize("iban", ["NL13 INGB 3389 8512 20", "no93 8601 1117 947", "NO93 8601 1117 947"])
async def test_g3_an_iban_behind_a_number_is_redacted_whole(
    guard: LocalGuard, number: str, iban: str
) -> None:
    text = f"on {number}{iban} of"
    whole = await _redacted(guard, text)
    assert whole == f"on {number}[IBAN_1] of"
    assert await _streamed(guard, [text]) == await _streamed(guard, list(text)) == whole


async def test_g3_numbers_are_redacted_as_in_the_whole_however_written(guard: LocalGuard) -> None:
    for text in (*(form[0] for form in FORMS), *HARMLESS_FORMS):
        whole = f"Before: {text} and after."
        assert await _streamed(guard, [whole]) == await _redacted(guard, whole), text


@given(st.data(), st.booleans())
def test_g3_a_stream_of_json_text_is_redacted_as_the_whole(
    guard: LocalGuard, data: st.DataObject, ascii_only: bool
) -> None:
    text = json.dumps({"body": data.draw(texts_with(_VALUES, noise=False))}, ensure_ascii=ascii_only)
    chunks = data.draw(chunks_of(text))
    assert asyncio.run(_streamed(guard, chunks)) == asyncio.run(_redacted(guard, text))
