"""G3: deltas with several channels, the finish reason, private keys, and completions that are not streamed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec import Raw
from prometheus_client import CollectorRegistry

from penstock.bus.tracing import NO_TRACER
from penstock.contract.guard.checks import Finding, GuardCheck, GuardVerdict
from penstock.contract.guard.policies import Action
from penstock.runtime.config.guard import Guard
from penstock.runtime.guard.effective_policy import effective_policy
from services.worker.guard.guard_checks import CheckedRequest, GuardChecks, Refused
from services.worker.guard.metrics import RequestGuardMetrics
from services.worker.guard.output_filter import OutputFilter, OutputRules
from services.worker.guard.placeholders import Placeholders
from services.worker.providers.errors.wire_errors import MalformedChunk, MalformedReply
from services.worker.providers.streams.chunks import ChunkDelta

EMAIL = re.compile(r"[a-z]+@[a-z]+\.example")
KEY_LINES = "\n".join("MIIEvQ" + "abCD12" * 9 for _ in range(40))
KEY = f"-----BEGIN {'PRIVATE'} KEY-----\n{KEY_LINES}\n-----END {'PRIVATE'} KEY-----"


class Asked:
    """A guard that finds addresses."""

    checks = 0

    async def check(
        self,
        check: GuardCheck,
        wait_s: float,  # noqa: ARG002 - the signature is GuardClient's
        trace: Mapping[str, str] | None = None,  # noqa: ARG002
    ) -> GuardVerdict:
        self.checks += 1
        found = tuple(
            Finding(
                text=index,
                start=each.start(),
                end=each.end(),
                category="personal_data",
                kind="email",
                detector="personal_data",
                action="redact",
            )
            for index, text in enumerate(check.texts)
            for each in EMAIL.finditer(text.text)
            if each.end() > text.start
        )
        return GuardVerdict(id=check.id, action="redact" if found else "allow", findings=found)


def filter_of(secrets: Action = "redact", **options: bool) -> OutputFilter:
    policy = effective_policy(Guard(output={"secrets": secrets, "personal_data": "redact"}), "a", {})
    rules = OutputRules(
        CheckedRequest("r", "a", "", policy, None),
        GuardChecks(Asked(), 1.0, NO_TRACER, RequestGuardMetrics(CollectorRegistry())),
        Placeholders(),
        searching=("secrets", "personal_data"),
        moderating=(),
        window_characters=100,
        refuse=pytest.fail,
    )
    return OutputFilter(rules, **options)


def choice(finish_reason: str | None = None, **delta: Any) -> Raw:
    return Raw(json.dumps({"index": 0, "delta": delta, "finish_reason": finish_reason}).encode())


def call(index: int, arguments: str, **others: Any) -> Raw:
    return choice(tool_calls=[{"index": index, "function": {"arguments": arguments}, **others}])


def written(delta: ChunkDelta) -> str:
    """The text of a delta, that of its tool call with the index before it, the id of a call, or the finish reason."""
    if delta.text:
        return delta.text
    (said,) = (json.loads(bytes(raw)) for raw in delta.choices)
    (made,) = said["delta"].get("tool_calls", [{}])
    arguments = made.get("function", {}).get("arguments")
    if arguments:
        return f"{made['index']}{arguments}"
    return str(said["delta"].get("reasoning_content") or made.get("id") or said["finish_reason"])


async def shown(filter_: OutputFilter, *deltas: ChunkDelta) -> list[ChunkDelta]:
    items = [*(item for delta in deltas for item in filter_.take(delta)), *filter_.rest()]
    return [shown for item in await filter_.check(items) if (shown := filter_.shown(item)) is not None]


def reasoning_of(deltas: list[ChunkDelta]) -> str:
    choices = [json.loads(bytes(raw)) for delta in deltas for raw in delta.choices]
    return "".join(each["delta"].get("reasoning_content", "") for each in choices)


async def test_g3_what_a_channel_holds_back_is_sent_before_the_finish_reason() -> None:
    deltas = await shown(
        filter_of(),
        ChunkDelta("", (choice(reasoning_content="ask ann@a.exa"),)),
        ChunkDelta("", (choice(reasoning_content="mple"),)),
        ChunkDelta("Write to bob@b.example"),
        ChunkDelta("", (choice("stop"),)),
    )
    assert reasoning_of(deltas) == "ask [EMAIL_1]"
    assert "".join(delta.text for delta in deltas) == "Write to [EMAIL_2]"
    assert json.loads(bytes(deltas[-1].choices[0]))["finish_reason"] == "stop"


async def test_g3_what_a_channel_holds_back_is_sent_before_the_next_channel_begins() -> None:
    deltas = await shown(
        filter_of(),
        ChunkDelta("", (choice(reasoning_content="ask ann@a.exa"),)),
        ChunkDelta("", (choice(reasoning_content="mple"),)),
        ChunkDelta("Calling bob@b.example"),
        ChunkDelta("", (call(0, "", id="call_1"),)),
        ChunkDelta("", (call(0, '{"to": 7}'),)),
        ChunkDelta("", (call(1, "", id="call_2"),)),
        ChunkDelta("", (call(1, "{}"),)),
        ChunkDelta("", (choice("tool_calls"),)),
    )
    assert list(map(written, deltas)) == [
        *("ask ", "[EMAIL_1]"),
        *("Calling ", "[EMAIL_2]"),
        *("call_1", '0{"to": ', "07}"),
        *("call_2", "1{}"),
        "tool_calls",
    ]


async def test_g3_arguments_that_go_on_behind_another_call_are_not_cut() -> None:
    deltas = await shown(
        filter_of(),
        ChunkDelta("", (call(0, '{"to": "ann@a.exa', id="call_1"),)),
        ChunkDelta("", (call(1, '{"to": "bob@', id="call_2"),)),
        ChunkDelta("", (call(0, 'mple"}'),)),
        ChunkDelta("", (call(1, 'b.example"}'),)),
        ChunkDelta("", (choice("tool_calls"),)),
    )
    parts = [each for each in map(written, deltas) if each[0] in "01"]
    for index, name in enumerate(("[EMAIL_1]", "[EMAIL_2]")):
        arguments = "".join(each[1:] for each in parts if each[0] == str(index))
        assert json.loads(arguments) == {"to": name}


async def test_g3_text_in_the_delta_of_the_finish_reason_is_one_with_the_text_before_it() -> None:
    deltas = await shown(
        filter_of(), ChunkDelta("to bob@b.exa"), ChunkDelta("mple", (choice("stop", logprobs=None),))
    )
    assert "".join(delta.text for delta in deltas) == "to [EMAIL_1]"


async def test_g3_a_finish_reason_in_every_chunk_ends_no_text() -> None:
    parts = [
        ChunkDelta("", (choice("stop", reasoning_content=part),)) for part in ("to bob@b", ".exa", "mple")
    ]
    assert reasoning_of(await shown(filter_of(finish_repeats=True), *parts)) == "to [EMAIL_1]"


@pytest.mark.parametrize("size", [1, 40, 700, 10_000])
async def test_g3_a_long_private_key_is_swallowed_whole(size: int) -> None:
    text = f"Use this:\n{KEY}\nand restart."
    chunks = [ChunkDelta(text[at : at + size]) for at in range(0, len(text), size)]
    filter_ = filter_of()
    deltas = await shown(filter_, *chunks)
    assert "".join(delta.text for delta in deltas) == "Use this:\n[PRIVATE_KEY_1]\nand restart."
    (found,) = filter_.guarded()
    assert (found.name, found.action, found.count) == ("secrets/private_key", "redact", 1)


@pytest.mark.parametrize("size", [7, 300, 10_000])
async def test_g3_a_long_token_is_swallowed_whole_and_counted_once(size: int) -> None:
    token = "eyJ" + "hbGciOiJSUzI1NiJ9" + ".eyJ" + "aB3xK9" * 200 + "." + "Zq7" * 100
    text = f"Send {token} with it."
    filter_ = filter_of()
    chunks = [ChunkDelta(text[at : at + size]) for at in range(0, len(text), size)]
    deltas = await shown(filter_, *chunks)
    assert "".join(delta.text for delta in deltas) == "Send [JWT_1] with it."
    (found,) = filter_.guarded()
    assert (found.name, found.count) == ("secrets/jwt", 1)


async def test_g3_a_long_private_key_is_blocked_or_passes_by_the_policy() -> None:
    with pytest.raises(Refused) as refused:
        await shown(filter_of("block"), ChunkDelta(KEY))
    assert refused.value.categories == ("secrets/private_key",)
    assert "".join(delta.text for delta in await shown(filter_of("allow"), ChunkDelta(KEY))) == KEY


async def test_g3_a_whole_answer_is_filtered_in_all_of_its_choices() -> None:
    message = {"role": "assistant", "content": "to bob@b.example", "reasoning_content": "or eve@e.example"}
    choices = [
        {"index": 0, "message": message, "logprobs": {"content": []}, "finish_reason": "stop"},
        {"index": 1, "message": {"content": "to eve@e.example"}, "finish_reason": "stop"},
    ]
    answer = json.loads(bytes(await filter_of().whole(Raw(json.dumps({"choices": choices}).encode()))))
    first, second = answer["choices"]
    assert first["message"]["content"] == "to [EMAIL_1]"
    assert first["message"]["reasoning_content"] == "or [EMAIL_2]"
    assert second["message"]["content"] == "to [EMAIL_2]"
    assert not first.get("logprobs")


async def test_g3_a_clean_whole_answer_keeps_its_bytes() -> None:
    body = Raw(b'{ "choices": [{"message": {"content": "Hello, world."}, "logprobs": null}] }')
    assert bytes(await filter_of().whole(body)) == bytes(body)


async def test_d6_a_choice_or_an_answer_that_cannot_be_read_is_malformed() -> None:
    with pytest.raises(MalformedChunk):
        filter_of().take(ChunkDelta("", (Raw(b"7"),)))
    with pytest.raises(MalformedReply):
        await filter_of().whole(Raw(b"{"))
