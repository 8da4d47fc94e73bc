"""The fields of a struct, read once."""

from __future__ import annotations

from functools import cache

from msgspec import Struct, structs

__all__ = ["fields_of"]


@cache
def fields_of(kind: type[Struct]) -> tuple[structs.FieldInfo, ...]:
    """The fields of a struct. msgspec evaluates its annotations for them: that took most of the load of a catalogue."""
    return structs.fields(kind)
