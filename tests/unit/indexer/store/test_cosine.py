"""H5: the similarity of a hit is the cosine, whatever the lengths of the vectors."""

from __future__ import annotations

from array import array

import pytest

from services.indexer.store.cosine import cosine_with
from tests.harness.indexer.stored_documents import vector


def floats(*values: float) -> bytes:
    return array("f", values).tobytes()


@pytest.mark.parametrize(
    ("one", "other", "cosine"),
    [
        (floats(1, 0), floats(0, 1), 0),
        (floats(1, 0), floats(100, 0), 1),
        (floats(3, 4), floats(-6, -8), -1),
        (floats(1, 1), floats(1, 0), 0.5**0.5),
        (vector("x", 1024), vector("x", 1024), 1),
    ],
)
def test_h5_cosine(one: bytes, other: bytes, cosine: float):
    assert cosine_with(one)(other) == pytest.approx(cosine, abs=1e-6)
