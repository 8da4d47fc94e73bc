"""Changes of budget policies and prices: compare-and-set in the bucket, then an event for the audit."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, TypeVar

from msgspec import Struct
from msgspec.structs import replace
from nats.js import JetStreamContext

from penstock.bus.bucket import Record, delete_record, read_record, write_record
from penstock.bus.publish import store
from penstock.contract import codec, subjects
from penstock.contract.events import BudgetPolicyChanged, PriceChanged
from penstock.contract.ledger.policies import BudgetPolicy, PriceOverride
from penstock.contract.streams import BUDGETS
from penstock.runtime.budgets.records import BudgetRecord, decoded, policy_key, price_key

__all__ = ["POLICY_EVENTS", "PRICE_EVENTS", "Author", "change_policy", "change_price"]

POLICY_EVENTS: Final = subjects.EVENT.format(kind="policy", scope="*")
PRICE_EVENTS: Final = subjects.EVENT.format(kind="price", scope="*")
_log: Final = logging.getLogger(__name__)
_EVENT_TIMEOUT_S: Final = 10.0
_Record = TypeVar("_Record", BudgetPolicy, PriceOverride)


class Author(Struct, frozen=True):
    """Who makes a change, and when."""

    name: str
    at_ms: int


async def change_policy(
    js: JetStreamContext,
    named: BudgetPolicy,
    change: Callable[[BudgetPolicy | None], BudgetPolicy | None],
    author: Author,
) -> BudgetPolicyChanged | None:
    """Replace the policy that has the scope and the names of `named` by the result of `change`, which gets the stored
    one. None: there is none, or it is removed. Returns None, and stores nothing, where nothing would change.

    Raises RecordChanged when another process changed it at the same time, ValueError where scope and names do not fit,
    StreamFull, and nats errors.
    """
    key = policy_key(named)
    decided = await _decided(js, key, BudgetPolicy, change, author)
    if decided is None:
        return None
    stored, before, after = decided
    changed = BudgetPolicyChanged(before=before, after=after, changed_by=author.name, at_ms=author.at_ms)
    await _write(js, stored, after, subjects.event("policy", key), changed)
    return changed


async def change_price(
    js: JetStreamContext,
    model: str,
    change: Callable[[PriceOverride | None], PriceOverride | None],
    author: Author,
) -> PriceChanged | None:
    """Replace the prices of a model by the result of `change`, which gets those that were set before; None: those of
    the catalogue apply. Returns and raises as `change_policy`.
    """
    key = price_key(model)
    decided = await _decided(js, key, PriceOverride, change, author)
    if decided is None:
        return None
    stored, before, after = decided
    changed = PriceChanged(before=before, after=after, changed_by=author.name, at_ms=author.at_ms)
    await _write(js, stored, after, subjects.event("price", key), changed)
    return changed


async def _decided(
    js: JetStreamContext,
    key: str,
    kind: type[_Record],
    change: Callable[[_Record | None], _Record | None],
    author: Author,
) -> tuple[Record, _Record | None, _Record | None] | None:
    """The stored record, its content, and the signed content that replaces it; None where nothing would change."""
    stored = await read_record(js, BUDGETS, key)
    found = _content(stored)
    before = found if isinstance(found, kind) else None
    after = change(before)
    if not _differs(stored, before, after):
        return None
    return stored, before, None if after is None else _signed(after, before, author)


def _content(stored: Record) -> BudgetRecord | None:
    """None: there is no record, or it is not valid, and the change repairs it."""
    if not stored.data:
        return None
    try:
        return decoded(stored)
    except ValueError as error:
        _log.warning("%s/%s holds no valid record and is replaced: %s", BUDGETS.name, stored.key, error)
        return None


def _differs(stored: Record, before: BudgetRecord | None, after: BudgetRecord | None) -> bool:
    """Whether a change changes more than the signature; the lack of a new note is no change."""
    if before is None or after is None:
        return bool(stored.data) if after is None else True
    if isinstance(before, BudgetPolicy) and isinstance(after, BudgetPolicy):
        note = after.note or before.note
        return _unsigned(replace(after, note=note)) != _unsigned(before)
    return _unsigned(after) != _unsigned(before)


def _unsigned(record: BudgetRecord) -> BudgetRecord:
    return replace(record, version=0, changed_by="", changed_ms=0)


def _signed(after: _Record, before: _Record | None, author: Author) -> _Record:
    version = 1 if before is None else before.version + 1
    return replace(after, version=version, changed_by=author.name, changed_ms=author.at_ms)


async def _write(
    js: JetStreamContext,
    stored: Record,
    after: BudgetRecord | None,
    subject: str,
    changed: BudgetPolicyChanged | PriceChanged,
) -> None:
    """The record before the event: what the history says has happened."""
    if after is None:
        sequence = await delete_record(js, BUDGETS, stored)
    else:
        sequence = await write_record(js, BUDGETS, Record(stored.key, codec.encode(after), stored.sequence))
    message_id = f"{BUDGETS.name}.{stored.key}.{sequence}"
    await store(js, subject, codec.encode(changed), message_id=message_id, timeout_s=_EVENT_TIMEOUT_S)
