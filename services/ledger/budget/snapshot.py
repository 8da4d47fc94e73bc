"""The budget state as bytes."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from penstock.contract.ledger.policies import TrafficClass
from services.ledger.budget.book import AccountUse, Book
from services.ledger.budget.counters import from_stored, stored
from services.ledger.budget.holds import EndedHold, Hold

__all__ = ["decode", "encode"]

_VERSION: Final = 1
_Stored = list[int | str]


class _Account(Struct, array_like=True):
    total: _Stored
    classes: dict[TrafficClass, _Stored]
    users: dict[str, _Stored]
    keys: dict[str, _Stored]


class _State(Struct, array_like=True):
    version: int
    system: bool
    last_ms: int
    accounts: dict[str, _Account]
    holds: dict[str, Hold]
    ended: dict[str, EndedHold]


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(_State)


def encode(book: Book) -> bytes:
    accounts = {
        name: _Account(
            total=stored(use.total),
            classes={traffic: stored(values) for traffic, values in use.classes.items()},
            users={user: stored(values) for user, values in use.users.items()},
            keys={key: stored(values) for key, values in use.keys.items()},
        )
        for name, use in book.accounts.items()
    }
    return _encoder.encode(_State(_VERSION, book.system, book.last_ms, accounts, book.holds, book.ended))


def decode(data: bytes) -> Book:
    """The state from its bytes; raises ValueError for those of another version."""
    state = _decoder.decode(data)
    if state.version != _VERSION:
        raise ValueError(f"a budget state of version {state.version}; this program reads {_VERSION}")
    book = Book(system=state.system)
    book.last_ms = state.last_ms
    for name, account in state.accounts.items():
        book.accounts[name] = AccountUse(
            total=from_stored(account.total),
            classes={traffic: from_stored(values) for traffic, values in account.classes.items()},
            users={user: from_stored(values) for user, values in account.users.items()},
            keys={key: from_stored(values) for key, values in account.keys.items()},
        )
    for hold_id, hold in state.holds.items():
        book.keep(hold_id, hold)
    for hold_id, ended in state.ended.items():
        book.keep_ended(hold_id, ended)
    return book
