"""How API keys of the HTTP edge look: `psk_<prefix>_<secret><checksum>`. The parts are regular expressions."""

from __future__ import annotations

from typing import Final

__all__ = ["CHECKSUM", "PREFIX", "RANDOM", "START"]

START: Final = "psk_"
PREFIX: Final = "[a-z2-7]{8}"
"""Names the key in lists and in the bucket: five bytes in base32."""
RANDOM: Final = "[A-Za-z0-9_-]{43}"
"""The secret: 32 random bytes in base64url."""
CHECKSUM: Final = "[0-9A-Za-z]{6}"
"""CRC-32 of all before it, in base 62."""
