from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from penstock.contract.reply import Usage
from services.worker.providers.usage import NO_COUNTS, TokenCounts, read_usage

NAMES = (
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "input_tokens",
    "output_tokens",
    "prompt_tokens_details",
    "completion_tokens_details",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "prompt_cache_hit_tokens",
    "prompt_cache_miss_tokens",
    "reasoning_tokens",
    "queue_time",
)
COUNTS = st.none() | st.integers() | st.integers(0, 200) | st.floats() | st.text(max_size=4) | st.booleans()
PARTS = ("cached_tokens", "reasoning_tokens", "cache_write_tokens", "audio_tokens")
ANYTHING = COUNTS | st.dictionaries(st.sampled_from(PARTS), COUNTS) | st.just([1])


@pytest.mark.parametrize(
    "usage",
    [
        *(b"null", b"{}", b"[]", b'"5"', b"5", b"[" * 5000 + b"]" * 5000),
        *(
            b'{"prompt_tokens":%s,"completion_tokens":null}' % n
            for n in (b"-1", b"1e400", b"9" * 40, b"9" * 400, b"9" * 5000, b"true")
        ),
        b'{"prompt_tokens":9223372036854775807,"completion_tokens":9223372036854775807}',
        b'{"prompt_tokens":"many","completion_tokens":{},"total_tokens":"' + b"9" * 5000 + b'"}',
    ],
)
def test_f2_impossible_usage_is_unknown(usage):
    assert read_usage(Raw(usage)) is None


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        ({"prompt_tokens": 3, "completion_tokens": None}, TokenCounts(3)),
        ({"prompt_tokens": 5.0, "completion_tokens": "7"}, TokenCounts(5, 7)),
        ({"prompt_tokens": -1, "completion_tokens": 7}, TokenCounts(None, 7)),
        ({"prompt_tokens": 10**9, "completion_tokens": 7}, TokenCounts(None, 7)),
        ({"prompt_tokens": float("nan"), "completion_tokens": 7}, TokenCounts(None, 7)),
        ({"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": "2"}}, TokenCounts(3, None, 2)),
        ({"prompt_tokens": 3, "completion_tokens": 5, "prompt_tokens_details": None}, TokenCounts(3, 5)),
        ({"prompt_tokens": 3, "completion_tokens": 5, "prompt_tokens_details": [7]}, TokenCounts(3, 5)),
        # What is in the total alone is further output: Gemini's thoughts, xAI's reasoning.
        (
            {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 18},
            TokenCounts(3, 15, None, 10, 18, 10),
        ),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 115,
                "completion_tokens_details": {"reasoning_tokens": 100},
            },
            TokenCounts(10, 105, None, 100, 115, 100),
        ),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 5,
                "completion_tokens_details": {"reasoning_tokens": 7},
            },
            TokenCounts(9, 12, None, 7, None, 7),
        ),
        ({"prompt_tokens": 3, "total_tokens": 10}, TokenCounts(3, 7, None, None, 10, 7)),
        # OpenAI's responses; Anthropic's messages, whose input is without what was cached; DeepSeek; Gemini.
        (
            {"input_tokens": 9, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 4}},
            TokenCounts(9, 2, 4),
        ),
        (
            {
                "input_tokens": 9,
                "output_tokens": 2,
                "cache_read_input_tokens": 100,
                "cache_creation_input_tokens": 20,
            },
            TokenCounts(129, 2, 100, cache_write_tokens=20),
        ),
        # OpenRouter writes into the cache as part of the input; OpenAI's models that hear and speak.
        (
            {
                "prompt_tokens": 109,
                "completion_tokens": 2,
                "prompt_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 100},
            },
            TokenCounts(109, 2, 5, cache_write_tokens=100),
        ),
        (
            {
                "prompt_tokens": 19,
                "completion_tokens": 10,
                "prompt_tokens_details": {"audio_tokens": 7},
                "completion_tokens_details": {"audio_tokens": 6, "reasoning_tokens": 1},
            },
            TokenCounts(19, 10, None, 1, audio_input_tokens=7, audio_output_tokens=6),
        ),
        (
            {
                "input_tokens": 19,
                "output_tokens": 10,
                "input_tokens_details": {"audio_tokens": 7},
                "output_tokens_details": {"audio_tokens": 6},
            },
            TokenCounts(19, 10, audio_input_tokens=7, audio_output_tokens=6),
        ),
        (
            {"prompt_tokens": 109, "completion_tokens": 2, "cache_read_input_tokens": 100},
            TokenCounts(109, 2, 100),
        ),
        (
            {"prompt_tokens": 9, "completion_tokens": 2, "cache_read_input_tokens": 100},
            TokenCounts(109, 2, 100),
        ),
        ({"prompt_tokens": 10, "completion_tokens": 2, "prompt_cache_hit_tokens": 4}, TokenCounts(10, 2, 4)),
        (
            {"prompt_cache_hit_tokens": 4, "prompt_cache_miss_tokens": 6, "completion_tokens": 2},
            TokenCounts(10, 2, 4),
        ),
        (
            {
                "promptTokenCount": 3,
                "candidatesTokenCount": 5,
                "thoughtsTokenCount": 10,
                "totalTokenCount": 18,
            },
            TokenCounts(3, 15, None, 10, 18, 10),
        ),
    ],
)
def test_f2_usage_is_read_field_by_field_under_all_known_names(usage, counted):
    assert read_usage(Raw(json.dumps(usage).encode())) == counted


@pytest.mark.parametrize(
    ("counted", "usage", "estimated"),
    [
        (
            TokenCounts(3, 5, 2, 1),
            Usage(input_tokens=3, output_tokens=5, cached_input_tokens=2, reasoning_tokens=1),
            False,
        ),
        (TokenCounts(3, None), Usage(input_tokens=3, output_tokens=8), True),
        (TokenCounts(None, 5), Usage(input_tokens=20, output_tokens=5), True),
        (TokenCounts(), Usage(input_tokens=20, output_tokens=8), True),
        (TokenCounts(0, 0), Usage(input_tokens=20, output_tokens=8), True),
        (TokenCounts(3, 0), Usage(input_tokens=3, output_tokens=8), True),
        (TokenCounts(total_tokens=27), Usage(input_tokens=20, output_tokens=7), True),
        (TokenCounts(total_tokens=7), Usage(input_tokens=7, output_tokens=8), True),
        (TokenCounts(None, 5, total_tokens=12), Usage(input_tokens=7, output_tokens=5), True),
        (
            TokenCounts(3, 5, 900, 900),
            Usage(input_tokens=3, output_tokens=5, cached_input_tokens=3, reasoning_tokens=5),
            False,
        ),
    ],
)
def test_f2_a_missing_count_is_estimated_and_never_0(counted, usage, estimated):
    assert counted.with_estimates(input_tokens=20, output_tokens=8) == (usage, estimated)


def test_an_empty_answer_has_no_output_tokens():
    assert TokenCounts(3, 0).with_estimates(input_tokens=20, output_tokens=0) == (
        Usage(input_tokens=3),
        False,
    )


@given(st.dictionaries(st.sampled_from(NAMES), ANYTHING, max_size=8))
def test_f2_any_reported_usage_gives_complete_possible_usage(reported):
    counted = read_usage(Raw(json.dumps(reported).encode())) or NO_COUNTS
    usage, _ = counted.with_estimates(input_tokens=20, output_tokens=8)
    assert usage.input_tokens > 0 < usage.output_tokens
    assert 0 <= usage.cached_input_tokens <= usage.input_tokens <= 400_000_000
    assert 0 <= usage.reasoning_tokens <= usage.output_tokens <= 400_000_000
    assert 0 <= usage.cache_write_tokens <= usage.input_tokens - usage.cached_input_tokens
    assert 0 <= usage.audio_input_tokens <= usage.input_tokens
    assert 0 <= usage.audio_output_tokens <= usage.output_tokens


@pytest.mark.parametrize(
    ("reported", "counted", "doubtful"),
    [
        (TokenCounts(11, 20_002, None, 20_000, 20_013, 20_000), None, False),
        (TokenCounts(11, 99_999_988, None, 99_999_986, 99_999_999, 99_999_986), TokenCounts(11, 2), True),
        (TokenCounts(11, 40_000, None, None, 40_011, 40_000), TokenCounts(11), True),
        (TokenCounts(11, 400_000), TokenCounts(11), True),
        (TokenCounts(400_000, 2, 7, None, 400_002), TokenCounts(None, 2, 7), True),
        (TokenCounts(None, None, None, None, 400_000), TokenCounts(), True),
        (TokenCounts(40_000, 30_000), None, False),
    ],
)
def test_a_count_far_above_the_context_is_removed(reported, counted, doubtful):
    assert reported.without_implausible(32_000) == (reported if counted is None else counted, doubtful)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            name: st.integers(0, 100_000_000)
            for name in (
                "prompt_tokens",
                "completion_tokens",
                "total_tokens",
                "reasoning_tokens",
                "cache_read_input_tokens",
            )
        },
    )
)
def test_a_count_far_above_the_context_is_not_billed(usage):
    reported = read_usage(Raw(json.dumps(usage).encode())) or NO_COUNTS
    counted, _ = reported.without_implausible(1000)
    billed, _ = counted.with_estimates(input_tokens=5, output_tokens=3)
    assert billed.input_tokens <= 10_000
    assert billed.output_tokens <= 11_000
