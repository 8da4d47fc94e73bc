"""Texts with findings for property tests, ways to cut them into chunks, and the redaction of their pieces."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from hypothesis import strategies as st
from msgspec import Struct

from penstock.runtime.guard.escapes import Unescaped
from services.worker.guard.candidates import Piece, Segmenter

__all__ = ["Found", "chunks_of", "joined", "pieces_of", "redacted", "redacted_pieces", "texts_with"]


class Found(Struct, frozen=True):
    start: int
    end: int
    kind: str


Detect = Callable[[str], Sequence[Found]]
"""The findings in a text, in order, without overlaps."""

_WORDS: Final = st.sampled_from(
    (
        *(
            "the",
            "order",
            "of",
            "Thursday",
            "costs",
            "e.g.",
            "(see",
            "page",
            "12)",
            "x = y + 1;",
            "def f(a):",
        ),
        *(
            "для",
            "заказа",
            "стоит",
            "1 234,50 ₽",
            "için",
            "teşekkürler",
            "你好，世界",
            "ありがとう",
            "🙂",
            "v1.2.3",
        ),
        *(
            "2024-10-15 12:30",
            "3.14159",
            "$19.99",
            "#42",
            "a@b",
            "@app.get",
            "std::map",
            "'quoted'",
            '{"a": 1}',
        ),
        *(
            "-----BEGIN",
            "-----",
            "[EMAIL_1]",
            "https://docs.example/a/b?c=d",
            "snake_case_name_2",
            "getById2",
            "no-reply@mill.org",
            "http://db:",
            "rev 95.217.33.4",
        ),
    )
)
_GLUE: Final = st.sampled_from((" ", " ", " ", ", ", "\n", "\n\n", "  ", "\t", ": ", "\u00a0"))
_NOISE: Final = st.text(
    st.sampled_from(string.ascii_letters + string.digits + " \n@.:-_+()/\\\"'<>=,é你🙂"), max_size=12
)


_LONGEST_SEQUENCE: Final = 48


@st.composite
def texts_with(draw: st.DrawFn, values: st.SearchStrategy[str], *, noise: bool = True) -> str:
    """Words, arbitrary characters if `noise`, and `values`, each value between blanks, quotes or line breaks."""
    around = st.sampled_from(((" ", " "), ("\n", "\n"), ('"', '"'), (" ", ", "), (" <", "> "), ("'", "' ")))
    parts: list[str] = []
    for _ in range(draw(st.integers(1, 8))):
        parts += [draw(_WORDS), draw(_GLUE)]
        if noise:
            parts += [draw(_NOISE), "\n"]
        if draw(st.booleans()):
            before, after = draw(around)
            parts += [before, draw(values), after]
    return "".join(parts)


@st.composite
def chunks_of(draw: st.DrawFn, text: str) -> list[str]:
    """The text cut into chunks: characters, tokens of a few characters, or parts of any length."""
    longest = draw(st.sampled_from((1, 2, 6, 40, 700)))
    chunks: list[str] = []
    done = 0
    while done < len(text):
        size = draw(st.integers(1, longest))
        chunks.append(text[done : done + size])
        done += size
    return chunks


def pieces_of(chunks: Sequence[str], longest_held: int) -> list[Piece]:
    """The pieces of the chunks; asserts that at most `longest_held` characters are held back after each."""
    segmenter = Segmenter()
    pieces: list[Piece] = []
    pushed = released = 0
    for chunk in chunks:
        new = segmenter.push(chunk)
        pushed += len(chunk)
        released += sum(len(each.text) for each in new)
        if pushed - released > longest_held:  # escape sequences count as what they stand for
            held = "".join(chunks)[released:pushed]
            assert len(Unescaped(held).text) <= longest_held + _LONGEST_SEQUENCE
        pieces += new
    return pieces + segmenter.end()


def joined(pieces: Sequence[Piece]) -> list[Piece]:
    """The pieces with neighbours joined that are not suspicious: where plain text is cut depends on the chunks."""
    whole: list[Piece] = []
    for piece in pieces:
        last = whole[-1] if whole else None
        if (
            last is not None
            and not piece.suspicious
            and piece.continues == last.continues
            and not last.suspicious
        ):
            whole[-1] = msgspec.structs.replace(last, text=last.text + piece.text)
        else:
            whole.append(piece)
    return whole


def redacted(text: str, detect: Detect) -> str:
    """The whole text with `<kind>` in place of its findings."""
    return _replaced(text, detect(text), 0)


def redacted_pieces(pieces: Sequence[Piece], detect: Detect) -> str:
    """The same from the pieces, of which `detect` sees only the suspicious ones with their contexts."""
    parts: list[str] = []
    goes_on = False
    for piece in pieces:
        if piece.continues and goes_on:
            continue
        goes_on = False
        if not piece.suspicious:
            parts.append(piece.text)
            continue
        start = len(piece.context)
        found = [each for each in detect(piece.context + piece.text) if each.end > start]
        if piece.opens:
            at = start + piece.opens_at
            found = [
                *(each for each in found if each.end <= at),
                Found(at, start + len(piece.text), piece.opens),
            ]
        goes_on = bool(found) and found[-1].end == start + len(piece.text)
        parts.append(_replaced(piece.context + piece.text, found, start))
    return "".join(parts)


def _replaced(text: str, findings: Sequence[Found], start: int) -> str:
    parts: list[str] = []
    done = start
    for found in findings:
        parts += [text[done : max(found.start, start)], f"<{found.kind}>"]
        done = found.end
    return "".join((*parts, text[done:]))
