r"""Cuts the text of an answer, as it streams, into pieces that may hold a finding of the guard, and plain text.

The text is cut between units. A unit is a run of characters without blanks, quotes and angle brackets; groups of
digits with up to three blanks between them, as in phone and card numbers; the groups of an IBAN; or a private key in
PEM form. A finding lies in one unit. The units follow from the text alone, never from the way it arrives.

Escape sequences (`\n`, `\"`, `\u0040`) count as the characters that they stand for, and none is cut: lengths are those
of the text as it reads. The pieces have them as they were written.
"""

from __future__ import annotations

import re
import string
from base64 import urlsafe_b64decode
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from penstock.contract.guard.checks import CONTEXT_CHARACTERS
from penstock.runtime.guard.escapes import EscapeReader
from services.worker.guard.candidate_forms import MAY_CONTAIN, QUOTES, is_candidate
from services.worker.guard.private_key_blocks import (
    MARKER,
    Undecided,
    block_end,
    longer_block_end,
    more_of_block,
)

__all__ = ["WINDOW_CHARACTERS", "Piece", "Segmenter"]

WINDOW_CHARACTERS: Final = 512
"""The most characters that are held back. A longer unit is cut there."""

_BREAKING: Final = r"\s\"`<>\u00ab\u00bb\u201c-\u201e\u0700-\u1dff\u2c00-\U0010ffff"
"""Blanks, quotes, angle brackets, and scripts and symbols that are in no finding, some of which use no blanks."""
_LAST_BREAK: Final = re.compile(rf"(?s:.*)[{_BREAKING}]")
_BREAKS: Final = re.compile(rf"[{_BREAKING}']*")
_TOKEN: Final = re.compile(rf"(?:[^{_BREAKING}']+(?:(?<=\w)'(?=\w)[^{_BREAKING}']+)*)?")
"""An apostrophe inside of a word breaks nothing: it may be in the name before the `@` of an e-mail address."""
_GAP: Final = re.compile(r"[ \u00a0\u2009\u202f]{0,4}")
_CLOSING: Final = (*QUOTES, "\u00bb", "\u201d")
"""A quote after a value belongs to its piece: a detector sees that the value is complete."""
_LONGEST_GAP_CHARACTERS: Final = 3
_DASHES: Final = "-\u2010\u2011\u2012\u2013\u2014"
_BEFORE_NUMBER: Final = frozenset("\u2116Nн")
"""How the words and signs begin that stand between the series and the number of a passport."""
_AFTER_GAP: Final = frozenset(f"0123456789(+/{_DASHES}") | _BEFORE_NUMBER
_BEFORE_GAP: Final = frozenset("0123456789),")
_BETWEEN_GROUPS: Final = frozenset(
    ("/", "\u2116", "N", "No", "No.", "номер", "\u2116:", "N:", "No:", "No.:", "номер:", *_DASHES)
)
_PLUS: Final = "+"
_DIGIT: Final = re.compile(r"[0-9]")
_IBAN_BEGUN: Final = re.compile(r"(?:^|[^A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?:[A-Za-z0-9]{4}){0,7}$")
_IBAN_GROUPS: Final = re.compile(r"(?:[A-Za-z0-9]{4}){1,7}")
_IBAN_LENGTH: Final = 34
_IBAN_CHARACTERS: Final = frozenset(string.digits + string.ascii_letters)
_LONGEST_IBAN_GAP: Final = 2
_CUT_TOKEN: Final = re.compile(r"(?:[A-Za-z0-9_+/=~%-]|\.(?=[A-Za-z0-9_+/=~%-]))*")
_FIRST_GROUP: Final = 0, False
_OPEN_JWT: Final = re.compile(r"(?<![\w-])(eyJ[\w-]{8,})\.[\w-]*(?:\.[\w-]*){0,3}$", re.ASCII)


class Piece(Struct, frozen=True, gc=False):
    """A part of the text."""

    text: str
    context: str = ""
    """The CONTEXT_CHARACTERS before the piece, if it is suspicious."""
    suspicious: bool = False
    """A finding may be in it."""
    continues: bool = False
    """It is the rest of a run of characters that was cut at WINDOW_CHARACTERS: a finding that reached the end of the
    piece before reaches the end of this one."""
    opens: str = ""
    """The kind of a secret that begins in this piece and is longer than WINDOW_CHARACTERS, so that no detector sees all
    of it: `private_key` or `jwt`."""
    opens_at: int = 0


class Segmenter:
    """The pieces of one text: in order, with texts that join to it.

    A piece that is not suspicious holds no finding, and no finding spans two pieces, except where `continues` and
    `opens` say so. Between suspicious pieces, where plain text is cut depends on the way it arrives.
    """

    __slots__ = ("_context", "_continuing", "_escapes", "_group", "_held", "_in_block")

    def __init__(self) -> None:
        self._escapes = EscapeReader(CONTEXT_CHARACTERS)
        self._held = ""
        """The beginning of a unit."""
        self._context = ""
        """The text before it, CONTEXT_CHARACTERS characters of it or somewhat more."""
        self._continuing = False
        """A unit was cut right before the held text."""
        self._group = _FIRST_GROUP
        """How far the held unit was read, so that a long one is not read again with each text."""
        self._in_block = False
        """The held text may continue a private key."""

    @property
    def held(self) -> str:
        """What is held back."""
        return self._escapes.written(self._held, 0) + self._escapes.begun

    def push(self, text: str) -> list[Piece]:
        """The pieces that are complete with `text`."""
        if not self._escapes.active and "\\" not in text:
            return self._cut(text)
        read = self._escapes.read(text, len(self._held))
        pieces = self._cut(read) if read else []
        return self._written(pieces) if pieces else pieces

    def end(self) -> list[Piece]:
        """The rest, after the last text."""
        self._held += self._escapes.rest(len(self._held))
        return self._written(self._scanned(self._held, final=True)) if self._held else []

    def _cut(self, text: str) -> list[Piece]:
        if self._held:
            text = self._held + text
        if self._continuing or self._in_block:
            return self._scanned(text, final=False)
        found = _LAST_BREAK.match(text)
        end = 0 if found is None else found.end()
        if len(text) - end >= WINDOW_CHARACTERS:
            return self._scanned(text, final=False)
        if not end:
            self._held = text
            return []
        if self._context.endswith(QUOTES) or MAY_CONTAIN.search(text, 0, end):
            return self._scanned(text, final=False)
        plain, self._held = text[:end], text[end:]
        self._context = (self._context + plain)[-CONTEXT_CHARACTERS:]
        return [Piece(plain)]

    def _written(self, pieces: list[Piece]) -> list[Piece]:
        """The pieces with the escape sequences of the text."""
        written = self._escapes.written
        found: list[Piece] = []
        at = 0
        for piece in pieces:
            text = written(piece.text, at)
            if piece.suspicious:
                context = written(piece.context, at - len(piece.context))
                opens_at = piece.opens_at and len(written(piece.text[: piece.opens_at], at))
                found.append(replace(piece, text=text, context=context, opens_at=opens_at))
            else:
                found.append(piece if text is piece.text else Piece(text, continues=piece.continues))
            at += len(piece.text)
        self._escapes.passed(at)
        return found

    def _scanned(self, text: str, *, final: bool) -> list[Piece]:
        scan = _Scan(text, self._context, final=final)
        scan.continuing, scan.in_block, scan.group = self._continuing, self._in_block, self._group
        scan.run()
        self._continuing, self._in_block, self._group = scan.continuing, scan.in_block, scan.group
        self._held = text[scan.done :]
        self._context = scan.before(scan.done)
        return scan.pieces


class _Scan:
    """One pass over a text that begins with a unit, or in one that was cut."""

    __slots__ = (
        "_context",
        "_final",
        "_plain_from",
        "_text",
        "continuing",
        "done",
        "group",
        "in_block",
        "pieces",
    )

    def __init__(self, text: str, context: str, *, final: bool) -> None:
        self._text = text
        self._context = context
        self._final = final
        self._plain_from = 0
        self.continuing = False
        self.in_block = False
        self.group = _FIRST_GROUP
        """In a unit of several groups: where the last of them begins, and whether those before are of an IBAN."""
        self.done = 0
        """Characters that are in a piece, or are plain text."""
        self.pieces: list[Piece] = []

    def run(self) -> None:
        try:
            while self.done < len(self._text):
                self._step()
        except Undecided:
            pass
        self._add_plain(self.done)

    def before(self, place: int) -> str:
        """The CONTEXT_CHARACTERS before this place of the text."""
        if place >= CONTEXT_CHARACTERS:
            return self._text[place - CONTEXT_CHARACTERS : place]
        return (self._context + self._text[:place])[-CONTEXT_CHARACTERS:]

    def _step(self) -> None:
        """Go on by one piece or unit. Raises Undecided where more text is needed."""
        text = self._text
        if self.in_block:
            self._block_goes_on()
            return
        if self.continuing:
            self._token_goes_on()
            return
        start = self.done = _BREAKS.match(text, self.done).end()  # type: ignore[union-attr]  # matches everywhere
        if start == len(text):
            return
        if text.startswith(MARKER, start) and self._block_begins(start):
            return
        end = self._unit_end(start)
        self.group = _FIRST_GROUP
        self._add_unit(start, end, cut=end - start == WINDOW_CHARACTERS)

    def _add_unit(self, start: int, end: int, *, cut: bool) -> None:
        unit, before = self._text[start:end], self.before(start)
        if is_candidate(unit, before):
            at = _open_jwt(unit) if cut else None
            if not cut and self._text.startswith(_CLOSING, end):
                end += 1
                unit = self._text[start:end]
            piece = Piece(unit, before, suspicious=True, opens="" if at is None else "jwt", opens_at=at or 0)
            self._add(piece, start, end)
            self.continuing = cut
        self.done = end

    def _add(self, piece: Piece, start: int, end: int) -> None:
        self._add_plain(start)
        self.pieces.append(piece)
        self._plain_from = self.done = end

    def _add_plain(self, end: int) -> None:
        if end > self._plain_from:
            self.pieces.append(Piece(self._text[self._plain_from : end]))
            self._plain_from = end

    def _token_goes_on(self) -> None:
        start, text = self.done, self._text
        end = _end(_CUT_TOKEN, text, start, self._token_end(start, start + WINDOW_CHARACTERS))
        self.continuing = end - start == WINDOW_CHARACTERS
        if end > start:
            run, before = text[start:end], self.before(start)
            suspicious = is_candidate(run, before)
            self._add(Piece(run, before if suspicious else "", suspicious, continues=True), start, end)

    def _unit_end(self, start: int) -> int:
        text, limit = self._text, start + WINDOW_CHARACTERS
        token, iban = start + self.group[0], self.group[1]
        while True:
            end = self._token_end(token, limit)
            if end == limit:
                return limit
            if text.endswith(MARKER, token, end) and end - len(MARKER) > start:
                return end - len(MARKER)
            # One may begin behind a number: `N` is the country, or a word between the groups of a passport.
            iban = self._is_iban(token, end) or (iban and self._are_groups(token, end))
            following = self._next_group(token, end, limit, iban=iban, in_chain=token > start)
            if following == end:
                return end
            iban = iban and following - end <= _LONGEST_IBAN_GAP
            token, self.group = following, (following - start, iban)

    def _next_group(self, token: int, end: int, limit: int, *, iban: bool, in_chain: bool) -> int:
        """Where the next group of the unit begins after the token; `end` if there is none."""
        text = self._text
        after_number = self._ends_number(token, end, in_chain=in_chain)
        if not iban and not after_number:
            return end
        following = _end(_GAP, text, end, limit)
        if following in (end, limit) or following - end > _LONGEST_GAP_CHARACTERS:
            return end
        if following == len(text):
            if self._final:
                return end
            raise Undecided
        first = text[following]
        if after_number and first in (_BEFORE_NUMBER if text[end - 1] == "," else _AFTER_GAP):
            return following
        return following if iban and first in _IBAN_CHARACTERS else end

    def _is_iban(self, start: int, end: int) -> bool:
        return _IBAN_BEGUN.search(self._text[max(start, end - _IBAN_LENGTH - 1) : end]) is not None

    def _are_groups(self, start: int, end: int) -> bool:
        return _IBAN_GROUPS.fullmatch(self._text, start, end) is not None

    def _token_end(self, start: int, limit: int) -> int:
        """Raises Undecided for a token that may go on after the text."""
        text = self._text
        end = _end(_TOKEN, text, start, limit)
        if not self._final and len(text) < limit and (end == len(text) or _ends_in_apostrophe(text, end)):
            raise Undecided
        return end

    def _ends_number(self, token: int, end: int, *, in_chain: bool) -> bool:
        """Whether another group of digits may follow, after a blank."""
        text = self._text
        last = text[end - 1]
        if last in _BEFORE_GAP:
            return last.isdigit() or _DIGIT.search(text, token, end) is not None
        if in_chain:
            return text[token:end] in _BETWEEN_GROUPS
        return last == _PLUS and end - token == 1

    def _block_begins(self, start: int) -> bool:
        """Take a private key that begins here; False if none does."""
        block = self._text[start : start + WINDOW_CHARACTERS]
        whole = self._final and start + WINDOW_CHARACTERS >= len(self._text)
        if len(block) == WINDOW_CHARACTERS and (end := longer_block_end(block)):
            opened = Piece(block[:end], self.before(start), suspicious=True, opens="private_key")
            self._add(opened, start, start + end)
            self.in_block = True
            return True
        end = block_end(block, final=whole or len(block) == WINDOW_CHARACTERS)
        if end:
            self._add(Piece(block[:end], self.before(start), suspicious=True), start, start + end)
        return end > 0

    def _block_goes_on(self) -> None:
        start, text = self.done, self._text
        end, self.in_block = more_of_block(text, start, final=self._final)
        if end > start:
            self._add(Piece(text[start:end], continues=True), start, end)
        if self.in_block:
            raise Undecided


def _open_jwt(unit: str) -> int | None:
    """Where a JSON web token begins that goes on at the end of the unit."""
    found = _OPEN_JWT.search(unit)
    if found is None:
        return None
    header = found[1].encode()
    try:
        decoded = urlsafe_b64decode(header + b"=" * (-len(header) % 4))
    except ValueError:
        return None
    return found.start() if b'"alg"' in decoded or b'"enc"' in decoded else None


def _ends_in_apostrophe(text: str, end: int) -> bool:
    return end == len(text) - 1 and text[end] == "'"


def _end(pattern: re.Pattern[str], text: str, start: int, limit: int) -> int:
    """The end of a pattern that matches everywhere, at most `limit`."""
    found = pattern.match(text, start, limit)
    return start if found is None else found.end()
