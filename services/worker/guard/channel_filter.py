"""The text of one channel of an answer: cut into pieces, findings replaced, values of the request restored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import structs

from penstock.contract.guard.checks import CheckedText, Finding
from penstock.runtime.guard.effective_policy import EffectivePolicy
from penstock.runtime.guard.joined_findings import joined
from services.worker.guard.candidates import Piece, Segmenter
from services.worker.guard.placeholders import JsonPosition, Placeholders, Restorer

__all__ = ["ChannelFilter", "checked_text", "found_in"]

_BRACKETS: Final = ("}", "]")


class ChannelFilter:
    """Takes the text as it comes, and gives what may be shown, in order."""

    def __init__(self, placeholders: Placeholders, *, searched: bool, json_text: bool) -> None:
        """`searched`: findings are looked for; else values are restored only. `json_text`: the text is JSON text."""
        self._placeholders = placeholders
        self._segmenter = Segmenter() if searched else None
        self._restorer = Restorer(placeholders, json_text=json_text) if placeholders.restorable else None
        self._position = JsonPosition() if json_text and searched else None
        self._json_text = json_text
        self._goes_on = False
        """The last finding that was replaced may go on in the next piece."""

    def cut(self, text: str) -> Sequence[Piece]:
        """The pieces that are complete with `text`."""
        return (Piece(text),) if self._segmenter is None else self._segmenter.push(text)

    def rest(self) -> Sequence[Piece]:
        """The pieces after the last text."""
        return () if self._segmenter is None else self._segmenter.end()

    @property
    def may_end(self) -> bool:
        """Whether what is held back may be the end of the text, as far as it shows: JSON text ends with a bracket."""
        if not self._json_text:
            return True
        return self._segmenter is not None and self._segmenter.held.rstrip().endswith(_BRACKETS)

    def swallows(self, piece: Piece) -> bool:
        """Whether the next piece is the rest of a value that was replaced before it."""
        return piece.continues and self._goes_on

    def without_findings(self, piece: Piece, findings: Sequence[Finding]) -> str:
        """The text of the next piece with placeholders for what is to be redacted."""
        if self._goes_on and piece.continues:
            self._pass_by(piece.text)
            return ""
        redacted = joined(each for each in findings if each.action == "redact") if findings else ()
        if not redacted:
            self._goes_on = False
            self._pass_by(piece.text)
            return piece.text
        self._goes_on = any(each.end >= len(piece.text) for each in redacted)
        return self._placeholders.replace(piece.text, redacted, position=self._position)

    def _pass_by(self, text: str) -> None:
        if self._position is not None:
            self._position.read(text)

    def restored(self, text: str) -> str:
        """The next text with the values of the request; the beginning of a placeholder is held back."""
        return text if self._restorer is None else self._restorer.push(text)

    def restored_rest(self) -> str:
        return "" if self._restorer is None else self._restorer.end()


def checked_text(piece: Piece) -> CheckedText:
    """A suspicious piece, as the guard checks it."""
    return CheckedText(text=piece.context + piece.text, origin="output", start=len(piece.context))


def found_in(piece: Piece, findings: Sequence[Finding], policy: EffectivePolicy) -> list[Finding]:
    """The findings of `checked_text(piece)` at their places in the piece.

    A secret that is too long for the piece is among them, as no detector has seen all of it.
    """
    before, end = len(piece.context), len(piece.text)
    found = [
        structs.replace(each, start=max(0, each.start - before), end=max(0, each.end - before))
        for each in findings
        if each.end > before
    ]
    action = policy.action("output", "secrets", piece.opens) if piece.opens else "allow"
    if action == "allow":
        return found
    opened = Finding(
        start=piece.opens_at,
        end=end,
        category="secrets",
        kind=piece.opens,
        detector="secrets",
        action=action,
    )
    return [*(each for each in found if each.end <= piece.opens_at), opened]
