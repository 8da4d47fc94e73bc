"""D6: the usual completion is read as any other one is, only at once."""

from __future__ import annotations

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from services.worker.providers.streams import whole_completion
from services.worker.providers.streams.whole_completion import read_plain, read_whole

NOTHING = st.sampled_from([None, "", [], {}])
OTHER = NOTHING | st.booleans() | st.integers(-2, 3) | st.text(max_size=3)
MESSAGES = st.fixed_dictionaries(
    {"role": st.just("assistant")},
    optional={
        "content": OTHER | st.text(),
        "tool_calls": st.just([{"id": "c", "function": {"arguments": "{}"}}]),
    },
)
CHOICES = st.fixed_dictionaries(
    {},
    optional={
        "index": st.integers(0, 3) | OTHER,
        "message": MESSAGES | OTHER,
        "finish_reason": st.sampled_from(["stop", "length", "tool_calls", "error", "content_filter"]) | OTHER,
        "error": OTHER | st.just({"message": "no"}),
        "usage": st.just({"prompt_tokens": 5, "completion_tokens": 6}),
        "logprobs": OTHER,
    },
)
USAGE = st.fixed_dictionaries(
    {"prompt_tokens": st.integers(-1, 9), "completion_tokens": st.integers(-1, 9)},
    optional={"total_tokens": st.integers(0, 30), "completion_tokens_details": OTHER},
)
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "id": st.text(max_size=300) | OTHER,
        "model": st.text(max_size=300) | OTHER,
        "choices": st.lists(CHOICES, max_size=3) | OTHER,
        "usage": USAGE | OTHER,
        "x_groq": st.just({"usage": {"prompt_tokens": 7, "completion_tokens": 8}}),
        "error": OTHER | st.just({"message": "no"}),
    },
)
USUAL = {
    "id": "c",
    "model": "m",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Yes"}, "finish_reason": "stop"},
        {"index": 1, "message": {"role": "assistant", "content": None}, "finish_reason": "tool_calls"},
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 4},
}


def almost_usual(changes: dict[str, object]) -> dict[str, object]:
    """The usual completion with these changes, of which one to its choices changes each of them."""
    changed = changes.get("choices")
    choices = USUAL["choices"]
    if isinstance(changed, list):
        choices = [{**usual, **each} for usual, each in zip(choices, changed, strict=False)]
    return {**USUAL, **changes, "choices": choices}


@given(
    BODIES | BODIES.map(almost_usual),
    st.none() | st.integers(1, 3),
    st.sampled_from([b"", b" ", b"\n\xff", b"}"]),
)
@example(USUAL, 2, b"")
def test_d6_the_usual_completion_is_read_as_any_other(body, requested, after):
    data = msgspec.json.encode(body) + after
    plain = read_plain(data, requested)
    if plain is not None:
        assert plain == whole_completion._read(data, whole_completion._DEFAULT, requested)


def test_d6_the_usual_completion_is_read_at_once(monkeypatch):
    data = msgspec.json.encode(USUAL)
    expected = whole_completion._read(data, whole_completion._DEFAULT, 2)
    monkeypatch.delattr(whole_completion, "_read")
    assert read_whole(data, choices=2) == expected
