"""The spend history: questions, answers, and its rows."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

__all__ = [
    "RecentSpend",
    "SpendAmounts",
    "SpendDimension",
    "SpendKey",
    "SpendQuery",
    "SpendReport",
    "SpendRow",
]

SpendDimension = Literal["account", "user", "key", "model", "role", "hour", "day", "month"]


class SpendKey(Struct, frozen=True, array_like=True):
    """Whose use one row of the spend history adds up."""

    start_s: int
    """Beginning of the UTC hour, day or month, Unix seconds: when the request was accepted."""
    account: str
    user: str
    key: str
    role: str
    """Empty, as every other field, in a row that is not grouped by it."""
    model: str


class SpendAmounts(Struct, array_like=True):
    """Sums over provider attempts."""

    requests: int = 0
    """Requests that were answered."""
    attempts: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0
    picousd: int = 0
    saved_by_cache_picousd: int = 0
    saved_by_routing_picousd: int = 0
    estimated_attempts: int = 0
    """Attempts with an estimated part of the usage."""
    unpriced_attempts: int = 0
    """Attempts that used tokens of a model without a price: their cost is not known, and not in `picousd`."""


class SpendRow(Struct, frozen=True, array_like=True):
    """One row of the spend history."""

    key: SpendKey
    amounts: SpendAmounts


class RecentSpend(Struct, frozen=True, kw_only=True, tag="recent_spend", tag_field="type"):
    """What the owner of a partition has settled and not yet written into the history."""

    since: int
    """Sequence of the last journal message whose spend is in the stored history; history written for later ones is in
    `rows`.
    """
    through: int = 0
    """Sequence of the last journal message whose spend is in `rows`."""
    rows: tuple[SpendRow, ...]
    v: int = 1


class SpendQuery(Struct, frozen=True, kw_only=True, tag="spend_query", tag_field="type"):
    """Spend from `since_s` to before `until_s` (Unix seconds), grouped by these dimensions."""

    since_s: int
    until_s: int
    by: tuple[SpendDimension, ...] = ()
    account: str = ""
    """Only of this account; empty: of all."""
    user: str = ""
    limit: int = 1_000
    """The answer has at most this many rows; the total is that of all."""
    v: int = 1


class SpendReport(Struct, frozen=True, kw_only=True, tag="spend_report", tag_field="type"):
    """The answer to a spend query: rows whose ungrouped fields are empty, most expensive first."""

    rows: tuple[SpendRow, ...]
    total: SpendAmounts = field(default_factory=SpendAmounts)
    """Of all rows, also of those that were left out."""
    users: int = 0
    """The users (with their accounts) of the rows; requests without a user have none."""
    left_out: int = 0
    """Further rows, beyond the limit of the query."""
    missing_partitions: tuple[int, ...] = ()
    """Partitions without an owner at that moment, whose latest settlements are not included."""
    v: int = 1
