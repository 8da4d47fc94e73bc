"""The budget state as bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final

import msgspec
from msgspec import Raw, Struct

from penstock.contract.ledger.policies import TrafficClass
from services.ledger.budget.book import AccountUse, Book
from services.ledger.budget.counters import Values, from_stored, stored
from services.ledger.budget.holds import EndedHold, Hold

__all__ = ["decode", "encode"]

_VERSION: Final = 2
_USERS_PER_BLOCK: Final = 1_000
"""Blocks are decoded one after another, so that loading needs little more memory than the state itself."""


class _Account(Struct, array_like=True):
    total: bytes
    classes: dict[TrafficClass, bytes]
    keys: dict[str, bytes]
    users: list[Raw]
    """Blocks of users."""


class _State(Struct, array_like=True):
    version: int
    system: bool
    last_ms: int
    accounts: dict[str, _Account]
    holds: dict[str, Hold]
    ended: dict[str, EndedHold]


_encode: Final = msgspec.msgpack.Encoder().encode
_decoder: Final = msgspec.msgpack.Decoder(_State)
_decode_block: Final = msgspec.msgpack.Decoder(dict[str, bytes]).decode


def encode(book: Book) -> bytes:
    accounts = {
        name: _Account(
            total=stored(use.total),
            classes={traffic: stored(values) for traffic, values in use.classes.items()},
            keys={key: stored(values) for key, values in use.keys.items()},
            users=[Raw(_encode(block)) for block in _blocks(use.users)],
        )
        for name, use in book.accounts.items()
    }
    return _encode(_State(_VERSION, book.system, book.last_ms, accounts, book.holds, book.ended))


def decode(data: bytes) -> Book:
    """The state from its bytes; raises ValueError for those of another version."""
    state = _decoder.decode(data)
    if state.version != _VERSION:
        raise ValueError(f"a budget state of version {state.version}; this program reads {_VERSION}")
    book = Book(system=state.system)
    book.last_ms = state.last_ms
    for name, account in state.accounts.items():
        use = book.accounts[name] = AccountUse(
            total=from_stored(account.total),
            classes={traffic: from_stored(values) for traffic, values in account.classes.items()},
            keys={key: from_stored(values) for key, values in account.keys.items()},
        )
        for block in account.users:
            use.users.update((user, from_stored(values)) for user, values in _decode_block(block).items())
    for hold_id, hold in state.holds.items():
        book.keep(hold_id, hold)
    for hold_id, ended in state.ended.items():
        book.keep_ended(hold_id, ended)
    return book


def _blocks(users: Mapping[str, Values]) -> Iterator[dict[str, bytes]]:
    left = iter(users.items())
    while block := {user: stored(values) for user, values in islice(left, _USERS_PER_BLOCK)}:
        yield block
