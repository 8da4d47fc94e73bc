"""What `penstock guard set` makes of a stored policy: pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct, field
from msgspec.structs import replace

from penstock.contract.guard.policies import GuardPolicy

__all__ = ["INHERIT", "GuardChange", "changed_policy"]

INHERIT: Final = "inherit"
"""A value that removes what was set."""


class GuardChange(Struct, frozen=True, kw_only=True):
    """What `guard set` shall change; None: nothing. Values are those of a GuardPolicy, or INHERIT."""

    mode: str | None = None
    input: Mapping[str, str] = field(default_factory=dict)
    output: Mapping[str, str] = field(default_factory=dict)
    when_unavailable: Mapping[str, str] = field(default_factory=dict)
    restore: bool | None = None
    note: str | None = None

    def acts_on(self) -> set[str]:
        """The categories and kinds that get another action than `allow`."""
        given = (*self.input.items(), *self.output.items())
        return {name for name, action in given if action not in (INHERIT, "allow")}


def changed_policy(before: GuardPolicy, change: GuardChange) -> GuardPolicy:
    """The stored policy `before` with the change. A change without a note has none."""
    made: dict[str, Any] = {"note": change.note or ""}
    for name in ("input", "output", "when_unavailable"):
        merged = {**getattr(before, name), **getattr(change, name)}
        made[name] = {key: value for key, value in merged.items() if value != INHERIT}
    if change.mode is not None:
        made["mode"] = None if change.mode == INHERIT else change.mode
    if change.restore is not None:
        made["restore"] = change.restore
    return replace(before, **made)
