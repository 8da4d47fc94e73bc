"""Sizes in bytes, as people read them."""

from __future__ import annotations

__all__ = ["size_text"]


def size_text(size: int) -> str:
    """`512 B`, `3.4 KiB`, `12.0 MiB`."""
    if size < 1024:
        return f"{size} B"
    number = float(size)
    for unit in ("KiB", "MiB", "GiB"):
        number /= 1024
        if number < 1024:
            return f"{number:,.1f} {unit}"
    return f"{number / 1024:,.1f} TiB"
