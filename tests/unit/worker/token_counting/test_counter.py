"""F2: the counting process, and what happens without it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from time import process_time

import psutil
import pytest

from penstock.bus.clock import loop_now_s
from services.worker.token_counting.counter import TokenCounter
from services.worker.token_counting.messages import Counted, Produced

pytestmark = pytest.mark.real_time
SENTENCE = "The quick brown fox jumps over the lazy dog."
BODY = json.dumps({"messages": [{"role": "user", "content": SENTENCE}]}).encode()
PRODUCED = Produced(SENTENCE.encode())


@pytest.fixture
async def counter() -> AsyncIterator[TokenCounter]:
    pytest.importorskip("quicktok")
    made = TokenCounter()
    yield made
    await made.stop()


@pytest.mark.parametrize(
    ("model", "tokens"),
    [("gpt-4o", 10), ("gpt-4", 10), ("gpt-oss-20b", 10), ("llama-3.1-8b", 10), ("qwen3-32b", 10)],
)
async def test_f2_tokens_are_those_of_the_models_own_vocabulary(
    counter: TokenCounter, model: str, tokens: int
) -> None:
    assert await counter.count(model, BODY, PRODUCED) == Counted(3 + 4 + tokens, tokens)


async def test_f2_known_counts_are_exact(counter: TokenCounter) -> None:
    # From the sample of OpenAI's "Hello GPT-4o": 17 tokens, and the cookbook's example for cl100k_base.
    known = {
        ("gpt-4o", "tiktoken is great!"): 6,
        ("gpt-4", "tiktoken is great!"): 6,
        ("gpt-4", "お誕生日おめでとう"): 9,
        ("gpt-4o", "お誕生日おめでとう"): 8,
        ("gpt-4", "antidisestablishmentarianism"): 6,
        ("gpt-4o", "antidisestablishmentarianism"): 6,
    }
    for (model, text), tokens in known.items():
        counted = await counter.count(model, None, Produced(text.encode()))
        assert counted == Counted(None, tokens), (model, text)


async def test_f2_the_loop_runs_on_while_a_vocabulary_is_loaded(counter: TokenCounter) -> None:
    # By CPU time: another program can keep the loop waiting, too.
    longest_s, last_s = 0.0, process_time()
    counting = asyncio.create_task(counter.count("gpt-4o", BODY, PRODUCED))
    while not counting.done():
        await asyncio.sleep(0.002)
        longest_s, last_s = max(longest_s, process_time() - last_s), process_time()
    assert await counting is not None
    assert counter._process is not None
    loading_s = longest_s + sum(psutil.Process(counter._process.pid).cpu_times()[:2])
    assert longest_s < 0.5 * loading_s, "loading stops every thread of its process"


async def test_f2_without_a_tokenizer_the_estimate_stays_and_the_reason_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    counter = TokenCounter([sys.executable, "-c", "raise SystemExit(1)"])
    assert await counter.count("gpt-4o", BODY, PRODUCED) is None
    assert "estimated by their bytes" in caplog.text
    assert await counter.count("gpt-4o", BODY, PRODUCED) is None
    await counter.stop()


async def test_f2_a_silent_process_does_not_keep_a_request_waiting() -> None:
    counter = TokenCounter([sys.executable, "-c", "import sys; sys.stdin.read()"], timeout_s=0.5)
    began_s = loop_now_s()
    assert await counter.count("gpt-4o", BODY, PRODUCED) is None
    assert loop_now_s() - began_s < 5
    await counter.stop()


async def test_f2_an_idle_process_is_stopped_and_started_again(counter: TokenCounter) -> None:
    brief = TokenCounter(idle_s=0.0)
    for _ in range(2):
        assert await brief.count("qwen3", None, PRODUCED) == Counted(None, 10)
        await asyncio.sleep(0.01)
    await brief.stop()
