"""Where a private key in PEM form begins, goes on and ends, in a text that is still growing."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["MARKER", "Undecided", "block_end", "longer_block_end", "more_of_block"]

MARKER: Final = "-----BEGIN"
_WORDS: Final = r"(?:[A-Z0-9]{1,12} ){0,4}PRIVATE KEY(?: BLOCK)?-----"
_BREAK: Final = r"(?:\s|\\[nrt])"
_BREAKS: Final = rf"{_BREAK}{{1,8}}+"
"""Line breaks with indents, also as escape sequences in JSON text."""
_HEAD: Final = rf"-----BEGIN {_WORDS}(?:{_BREAKS}[A-Z][A-Za-z-]{{2,20}}: [^\n\\]{{0,120}}(?=[\n\\]))*+"
"""The first line, and headers such as `Proc-Type: 4,ENCRYPTED`."""
_LINE: Final = r"[A-Za-z0-9+/=]"
_LINES: Final = rf"(?:{_BREAKS}{_LINE}{{16,}}+)*+"
_LAST_LINES: Final = rf"(?:{_BREAKS}{_LINE}{{1,15}}+){{0,2}}(?:{_BREAKS})?"
"""The last line, and the checksum of a PGP key."""
_END: Final = rf"-----END {_WORDS}"
_OPEN: Final = re.compile(_HEAD + _LINES)
_CLOSED: Final = re.compile(_HEAD + _LINES + _LAST_LINES + _END)
_MORE: Final = re.compile(rf"{_LINE}*+{_LINES}")
_MORE_CLOSED: Final = re.compile(rf"{_LINE}*+{_LINES}{_LAST_LINES}{_END}")
_HEAD_BEGUN: Final = re.compile(r"-----BEGIN(?: [A-Z0-9]{0,12}){0,7}-{0,5}")
_MAY_GO_ON: Final = re.compile(
    rf"{_LAST_LINES}\\?(?:-{{1,5}}|-----(?:E|EN|END|END(?: [A-Z0-9]{{0,12}}){{1,7}}-{{0,4}}))?"
)
_HEADER_BEGUN: Final = re.compile(rf"(?:{_BREAKS})?\\?(?:[A-Z][A-Za-z-]{{0,20}}(?:: ?|: [^\n\\]{{0,120}}))?")


class Undecided(Exception):
    """The text does not say yet whether the block goes on."""


def block_end(text: str, *, final: bool) -> int:
    """The end of the block that begins `text`: after its last line, or before the first text that is not part of it.

    0 if no private key begins here. Raises Undecided unless the text is `final`.
    """
    if (closed := _CLOSED.match(text)) is not None:
        return closed.end()
    opened = _OPEN.match(text)
    if opened is None:
        if not final and _HEAD_BEGUN.fullmatch(text):
            raise Undecided
        return 0
    if not final and _may_go_on(text, opened.end()):
        raise Undecided
    return opened.end()


def longer_block_end(text: str) -> int:
    """The end of the complete lines of a block that begins `text` and goes on after it; 0 if there is none."""
    opened = _OPEN.match(text)
    return opened.end() if opened is not None and _may_go_on(text, opened.end()) else 0


def more_of_block(text: str, start: int, *, final: bool) -> tuple[int, bool]:
    """The end of what continues a block from `start` on, and whether the block goes on.

    What is left and may belong to the block has to be asked again with the text after it.
    """
    if (closed := _MORE_CLOSED.match(text, start)) is not None:
        return closed.end(), False
    more = _MORE.match(text, start)
    end = start if more is None else more.end()
    return end, not final and _may_go_on(text, end)


def _may_go_on(text: str, start: int) -> bool:
    return _MAY_GO_ON.fullmatch(text, start) is not None or _HEADER_BEGUN.fullmatch(text, start) is not None
