"""Every body is rewritten without changing anything but its texts."""

from __future__ import annotations

import json
from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st

from services.worker.guard.request_texts import rewritten, texts_of

_KEYS: Final = st.sampled_from(
    (
        *(
            "role",
            "content",
            "type",
            "text",
            "name",
            "tool_calls",
            "function",
            "arguments",
            "data",
            "source",
            "x",
            "a@b.example",
        ),
        *(
            "image_url",
            "description",
            "properties",
            "title",
            "enum",
            "default",
            "parameters",
            "system",
            "tool_result",
        ),
    )
)
_SCALARS: Final = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    _KEYS,
    st.text(max_size=8),
)
_VALUES: Final = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)
_BODIES: Final = st.dictionaries(
    st.sampled_from(
        ("messages", "tools", "functions", "response_format", "prediction", "documents", "stop", "metadata")
    ),
    _VALUES,
    max_size=5,
)


@given(_BODIES)
def test_g6_a_body_with_its_own_texts_is_unchanged(body: dict[str, Any]) -> None:
    data = json.dumps(body).encode()
    assert rewritten(data, [each.text for each in texts_of(data).texts]) == data


@given(_BODIES)
def test_g6_other_texts_come_into_the_places_and_back(body: dict[str, Any]) -> None:
    data = json.dumps(body).encode()
    read = texts_of(data)
    texts = [each.text for each in read.texts]
    new = [
        text if number == read.fixed else f"{text}\u00ab{number}\u00bb" for number, text in enumerate(texts)
    ]
    changed = rewritten(data, new)
    assert [each.text for each in texts_of(changed).texts] == new
    assert json.loads(rewritten(changed, texts)) == body


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_g1_any_bytes_are_read_or_refused_as_not_json(data: bytes) -> None:
    try:
        texts = texts_of(data).texts
    except ValueError:
        return
    assert rewritten(data, [each.text for each in texts]) == data
