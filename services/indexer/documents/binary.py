"""Recognises data that is not text by its first bytes."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["binary_kind"]

_HEAD_BYTES: Final = 64 * 1024
_CONTROLS: Final = re.compile(rb"[\x00-\x08]")
_RTF: Final = b"{\\rtf"
_SIGNATURES: Final = (
    (b"PK\x03\x04", "a ZIP archive or an office document"),
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"\xd0\xcf\x11\xe0", "an office document of an old format"),
    (_RTF, "an RTF document"),
    (b"\x1f\x8b", "data compressed by gzip"),
    (b"BZh", "data compressed by bzip2"),
    (b"\xfd7zXZ", "data compressed by xz"),
    (b"\x28\xb5\x2f\xfd", "data compressed by zstd"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!\x1a", "a RAR archive"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"RIFF", "a RIFF file, as WebP, WAV or AVI"),
    (b"OggS", "an Ogg file"),
    (b"ID3", "an MP3 file"),
    (b"\x7fELF", "a program"),
    (b"\xca\xfe\xba\xbe", "a program"),
    (b"SQLite format 3", "an SQLite database"),
)
_WIDE: Final = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
"""Byte order marks of UTF-16 and UTF-32, in which zero bytes are part of characters."""


def binary_kind(data: bytes) -> str | None:
    """What the data is, with an article; None: it may be text."""
    head = data[:_HEAD_BYTES]
    has_controls = _CONTROLS.search(head) is not None
    for signature, kind in _SIGNATURES:
        # A text may begin with the letters RIFF.
        if data.startswith(signature) and (has_controls or signature == _RTF or not signature.isascii()):
            return kind
    if data.startswith(_WIDE):
        return None
    return "binary data" if b"\x00" in head else None
