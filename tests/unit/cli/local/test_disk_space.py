"""A disk that is smaller than the streams of the embedded server is named at the start, with what to do."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from penstock.cli.local.disk_space import disk_space_notes
from penstock.runtime.provisioning.ensure import reserved_bytes


def scale_for(size: int) -> float:
    """With which the streams reserve so many bytes."""
    fixed = reserved_bytes(0.0)
    return (size - fixed) / (reserved_bytes(1.0) - fixed)


def test_k6_a_disk_that_the_streams_can_fill_is_named(tmp_path: Path):
    free = shutil.disk_usage(tmp_path).free
    (note,) = disk_space_notes(tmp_path, scale_for(10 * free))
    assert str(tmp_path) in note
    assert re.search(r" has [\d,.]+ (B|[KMGT]iB) free, .* may store [\d,.]+ (B|[KMGT]iB) more\.", note)
    assert "PENSTOCK_STORE_SCALE" in note
    assert disk_space_notes(tmp_path, scale_for(free // 10)) == []


def test_k6_what_the_store_has_already_is_not_needed_again(tmp_path: Path):
    scale = scale_for(shutil.disk_usage(tmp_path).free + 2**30)
    assert disk_space_notes(tmp_path, scale)
    block = tmp_path / "store" / "1.blk"
    block.parent.mkdir()
    with block.open("wb") as file:  # it has no blocks on the disk
        file.truncate(2**32)
    assert disk_space_notes(tmp_path, scale) == []
