"""G3: an answer of several texts: each is redacted as a whole, and ends before the next one begins."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from penstock.bus.tracing import NO_TRACER
from penstock.contract.guard.checks import Finding, GuardCheck, GuardVerdict
from penstock.runtime.config.guard import Guard
from penstock.runtime.guard.effective_policy import effective_policy
from penstock.runtime.guard.escapes import Unescaped
from services.worker.guard.guard_checks import CheckedRequest, GuardChecks
from services.worker.guard.metrics import RequestGuardMetrics
from services.worker.guard.output_filter import OutputFilter, OutputRules
from services.worker.guard.placeholders import Placeholders
from services.worker.providers.raw_json import encoded
from services.worker.providers.streams.chunks import ChunkDelta
from tests.harness.guard.streamed_texts import chunks_of, texts_with

EMAIL = re.compile(r"[A-Za-z0-9._-]+@[a-z]+\.example(?![A-Za-z0-9-])")
POLICY = effective_policy(Guard(output={"secrets": "allow", "personal_data": "redact"}), "a", {})
REASONING, CONTENT, FIRST_CALL, SECOND_CALL = range(4)
values = st.sampled_from(("ann@mail.example", "bob.b@shop.example", "eve@x.example"))
texts = texts_with(values)


def places(text: str) -> Iterator[tuple[int, int]]:
    """Of e-mail addresses, as the text reads without its escape sequences."""
    unescaped = Unescaped(text)
    for each in EMAIL.finditer(unescaped.text):
        yield unescaped.place(each.start()), unescaped.place(each.end())


class EmailFinder:
    async def check(
        self,
        check: GuardCheck,
        wait_s: float,  # noqa: ARG002 - the signature is GuardClient's
        trace: Mapping[str, str] | None = None,  # noqa: ARG002
    ) -> GuardVerdict:
        found = tuple(
            Finding(
                text=index,
                start=start,
                end=end,
                category="personal_data",
                kind="email",
                detector="personal_data",
                action="redact",
            )
            for index, text in enumerate(check.texts)
            for start, end in places(text.text)
            if end > text.start
        )
        return GuardVerdict(id=check.id, action="redact" if found else "allow", findings=found)


def filter_() -> OutputFilter:
    return OutputFilter(
        OutputRules(
            CheckedRequest("r", "a", "", POLICY, None),
            GuardChecks(EmailFinder(), 1.0, NO_TRACER, RequestGuardMetrics(CollectorRegistry())),
            Placeholders(),
            searching=("personal_data",),
            moderating=(),
            window_characters=100,
            refuse=pytest.fail,
        )
    )


def delta_of(part: int, text: str) -> ChunkDelta:
    if part == CONTENT:
        return ChunkDelta(text)
    call = {"index": part - FIRST_CALL, "function": {"arguments": text}}
    delta = {"reasoning_content": text} if part == REASONING else {"tool_calls": [call]}
    return ChunkDelta("", (encoded({"index": 0, "delta": delta, "finish_reason": None}),))


def read(delta: ChunkDelta) -> tuple[int, str]:
    if not delta.choices:
        return CONTENT, delta.text
    (said,) = (json.loads(bytes(raw))["delta"] for raw in delta.choices)
    if "reasoning_content" in said:
        return REASONING, said["reasoning_content"]
    (call,) = said["tool_calls"]
    return FIRST_CALL + call["index"], call["function"]["arguments"]


async def shown(deltas: list[ChunkDelta]) -> list[tuple[int, str]]:
    output = filter_()
    items = [*(item for delta in deltas for item in output.take(delta)), *output.rest()]
    received = [read(delta) for each in await output.check(items) if (delta := output.shown(each))]
    return [
        (part, "".join(text for _, text in group)) for part, group in groupby(received, lambda each: each[0])
    ]


@given(said=st.lists(texts, min_size=4, max_size=4), data=st.data())
def test_g3_each_text_is_whole_before_the_next_one_begins(said: list[str], data: st.DataObject) -> None:
    said[FIRST_CALL:] = (json.dumps({"text": text}, ensure_ascii=False) for text in said[FIRST_CALL:])
    deltas = [delta_of(part, chunk) for part, text in enumerate(said) for chunk in data.draw(chunks_of(text))]
    names: dict[str, str] = {}
    expected = []
    for text in said:
        parts, done = [], 0
        for start, end in places(text):
            parts += text[done:start], names.setdefault(text[start:end], f"[EMAIL_{len(names) + 1}]")
            done = end
        expected.append("".join((*parts, text[done:])))
    assert asyncio.run(shown(deltas)) == list(enumerate(expected))
