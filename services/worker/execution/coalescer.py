"""Gathering what a stream brings into fewer, larger deltas.

Every delta is a message to publish, and providers send tokens one by one, often several at once. The first
goes out at once, because a person is waiting for it; later ones may wait a few milliseconds for company.
"""

from __future__ import annotations

from msgspec import Raw, Struct

from services.worker.providers.streams.chunks import Piece

__all__ = ["Coalescer", "Flush"]


class Flush(Struct, frozen=True, gc=False):
    """One delta to publish: text, or choice objects in their order; exactly one of the two is not empty."""

    text: str
    choices: tuple[Raw, ...] = ()


class Coalescer:
    """Gathers the pieces of one attempt. Times are seconds of one monotonic clock."""

    __slots__ = ("_begun", "_choices", "_due_s", "_gather_s", "_max_bytes", "_size", "_texts")

    def __init__(self, *, gather_s: float = 0.008, max_bytes: int = 16 * 1024) -> None:
        """`max_bytes`: what is gathered goes out once it is this large; it is over by less than one piece."""
        self._gather_s = gather_s
        self._max_bytes = max_bytes
        self._begun = False
        self._texts: list[str] = []
        self._choices: list[Raw] = []
        self._size = 0
        self._due_s: float | None = None

    def push(self, piece: Piece, now_s: float) -> tuple[Flush, ...]:
        """Take a piece; returns what is to be published now, in this order.

        Of a piece with both, the choices come first. What such pieces bring is gathered as two deltas, so that text
        with its log probabilities costs two messages for many tokens.
        """
        if not self._begun:
            self._begun = True
            return _flushes(piece.text, piece.choices)
        before = self.flush() if self._must_wait(piece) else ()
        if self._due_s is None:
            self._due_s = now_s + self._gather_s
        self._add(piece)
        if self._size >= self._max_bytes or now_s >= self._due_s:
            return before + self.flush()
        return before

    def due_s(self) -> float | None:
        """When to call `flush`; None while nothing is waiting."""
        return self._due_s

    def flush(self) -> tuple[Flush, ...]:
        """All that is waiting: when it is due, and before anything that must come after it."""
        if self._due_s is None:
            return ()
        gathered = _flushes("".join(self._texts), tuple(self._choices))
        self._texts.clear()
        self._choices.clear()
        self._size = 0
        self._due_s = None
        return gathered

    def _must_wait(self, piece: Piece) -> bool:
        """Whether the piece belongs behind what was gathered, which is of another kind."""
        if piece.choices:
            return bool(self._texts) and not (self._choices and piece.text)
        return bool(self._choices) and not self._texts

    def _add(self, piece: Piece) -> None:
        if piece.text:
            self._texts.append(piece.text)
            self._size += len(piece.text) if piece.text.isascii() else len(piece.text.encode())
        if piece.choices:
            self._choices += piece.choices
            self._size += sum(map(len, piece.choices))


def _flushes(text: str, choices: tuple[Raw, ...]) -> tuple[Flush, ...]:
    if not choices:
        return (Flush(text),)
    return (Flush("", choices), Flush(text)) if text else (Flush("", choices),)
