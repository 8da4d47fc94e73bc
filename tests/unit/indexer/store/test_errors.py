"""H5: the errors of a store say whether the same call may succeed later."""

from __future__ import annotations

import pytest

from services.indexer.store.errors import (
    MissingLibraries,
    StoreCorrupt,
    StoreError,
    StoreUnavailable,
    UnknownTable,
)


@pytest.mark.parametrize(
    ("error", "retryable"),
    [
        (StoreUnavailable("no space"), True),
        (StoreCorrupt("not readable"), False),
        (UnknownTable("p1"), False),
        (MissingLibraries("lancedb"), False),
    ],
)
def test_h5_each_error_says_whether_to_retry(error: StoreError, *, retryable: bool):
    assert error.retryable is retryable


def test_h5_missing_libraries_say_what_to_install():
    assert "pip install 'penstock[index]'" in str(MissingLibraries("lancedb"))
