"""A note about a disk that is smaller than what the streams of the embedded server may store."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from penstock.runtime.config.settings import MIN_STORE_SCALE
from penstock.runtime.provisioning.ensure import reserved_bytes
from penstock.runtime.text.sizes import size_text

__all__ = ["disk_space_notes"]


def disk_space_notes(directory: Path, store_scale: float) -> list[str]:
    """`directory` contains the store. JetStream reserves the bytes of its streams and does not look at the disk."""
    missing = reserved_bytes(store_scale) - _stored_bytes(directory)
    free = shutil.disk_usage(directory).free
    if free >= missing:
        return []
    advice = "free space there, or name a larger disk with --data"
    if store_scale > MIN_STORE_SCALE:
        advice += f", or set PENSTOCK_STORE_SCALE below {store_scale:g} (the least is {MIN_STORE_SCALE:g})"
    note = (
        f"Note: the disk of {directory} has {size_text(free)} free, and the streams may store "
        f"{size_text(missing)} more. When it is full, requests are refused: {advice}."
    )
    return [note]


def _stored_bytes(directory: Path) -> int:
    """A file that is deleted meanwhile counts as empty."""
    found = 0
    for file in directory.rglob("*"):
        with suppress(FileNotFoundError):
            found += file.stat().st_size
    return found
