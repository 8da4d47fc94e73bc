"""H5: when the maintenance of a LanceDB table pays."""

from __future__ import annotations

import msgspec
import pytest

from services.indexer.store.lancedb.thresholds import TableState, Work, needed_work

SMALL = TableState(chunks=1_000, heads=100, removed=0, files=5, vector_rows=None, words_unindexed=1_100)
INDEXED = TableState(chunks=50_000, heads=2_500, removed=0, files=10, vector_rows=52_500, words_unindexed=0)


def changed(state: TableState, **fields: object) -> TableState:
    return msgspec.structs.replace(state, **fields)


@pytest.mark.parametrize("state", [SMALL, INDEXED])
def test_h5_nothing_to_do(state: TableState):
    assert not needed_work(state)


@pytest.mark.parametrize(
    ("state", "work"),
    [
        (changed(SMALL, chunks=4_999), Work(build_vector_index=False, compact=False)),
        (changed(SMALL, chunks=5_000), Work(build_vector_index=True, compact=False)),
        (changed(SMALL, files=25), Work(build_vector_index=False, compact=True)),
        (changed(SMALL, removed=501), Work(build_vector_index=False, compact=True)),
        (changed(SMALL, words_unindexed=2_001), Work(build_vector_index=False, compact=True)),
        (changed(INDEXED, words_unindexed=5_000), Work(build_vector_index=False, compact=False)),
        (changed(INDEXED, words_unindexed=5_300), Work(build_vector_index=False, compact=True)),
        (changed(INDEXED, files=40), Work(build_vector_index=False, compact=False)),
        (changed(INDEXED, files=60), Work(build_vector_index=False, compact=True)),
        (changed(INDEXED, vector_rows=26_000), Work(build_vector_index=True, compact=False)),
        (changed(INDEXED, vector_rows=27_000), Work(build_vector_index=False, compact=False)),
    ],
)
def test_h5_what_must_be_done(state: TableState, work: Work):
    assert needed_work(state) == work
    assert bool(needed_work(state)) == (work.build_vector_index or work.compact)
