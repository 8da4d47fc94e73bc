"""The count of values agrees with a decoder, whatever strings contain."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.runtime import json_values
from penstock.runtime.json_values import has_more_values

TEXT = st.text(alphabet='a\\",[]{}:\n\u00e9', max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(TEXT, inner, max_size=6),
    max_leaves=40,
)


def elements(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return max(1, len(value)) + sum(map(elements, value)) if isinstance(value, list) else 0


@given(value=VALUES, ascii_only=st.booleans(), chunk_bytes=st.sampled_from([1, 2, 3, 5, 1000]))
def test_d10_elements_of_arrays_and_objects_are_counted_exactly(
    value: Any, *, ascii_only: bool, chunk_bytes: int
):
    text = json.dumps(value, ensure_ascii=ascii_only).encode()
    count = elements(value)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(json_values, "_CHUNK_BYTES", chunk_bytes)
        assert not has_more_values(text, max(1, count))
        assert count < 2 or has_more_values(text, count - 1)
