"""Synthetic secrets and personal data: values of the right form and checksum that are not in use.

`synthetic` makes a valid value of a kind; `near_miss` makes one that looks alike and is not valid.
"""

from __future__ import annotations

import random
from typing import Final

from tests.harness.guard import contact_data, credentials, identity_numbers, vendor_tokens
from tests.harness.guard.value_parts import Maker

__all__ = ["KINDS", "PERSONAL_DATA", "SECRETS", "near_miss", "synthetic"]

_SECRETS: Final[dict[str, Maker]] = {**vendor_tokens.SYNTHETIC, **credentials.SYNTHETIC}
_PERSONAL_DATA: Final[dict[str, Maker]] = {**contact_data.SYNTHETIC, **identity_numbers.SYNTHETIC}
_SYNTHETIC: Final = {**_SECRETS, **_PERSONAL_DATA}
_NEAR_MISS: Final[dict[str, Maker]] = {
    **vendor_tokens.NEAR_MISS,
    **credentials.NEAR_MISS,
    **contact_data.NEAR_MISS,
    **identity_numbers.NEAR_MISS,
}
SECRETS: Final = tuple(_SECRETS)
PERSONAL_DATA: Final = tuple(_PERSONAL_DATA)
KINDS: Final = (*SECRETS, *PERSONAL_DATA)


def synthetic(kind: str, rng: random.Random) -> str:
    """A valid value of the kind, in one of its written forms."""
    return _SYNTHETIC[kind](rng)


def near_miss(kind: str, rng: random.Random) -> str:
    """A value that looks like the kind and is none: a wrong checksum or length, a reserved range, a placeholder."""
    return _NEAR_MISS[kind](rng)
