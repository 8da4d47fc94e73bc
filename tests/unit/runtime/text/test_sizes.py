"""Sizes in bytes, as people read them."""

from __future__ import annotations

import pytest

from penstock.runtime.text.sizes import size_text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1_023, "1023 B"), (1_024, "1.0 KiB"), (5 * 2**30, "5.0 GiB"), (3 * 2**50, "3,072.0 TiB")],
)
def test_h1_sizes_are_short(size, text):
    assert size_text(size) == text
