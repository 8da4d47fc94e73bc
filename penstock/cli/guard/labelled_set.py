"""Labelled sets of `penstock guard test`: one JSON object a line, in one of three forms (docs/guard.md)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from penstock.cli.errors import CommandError
from penstock.contract.guard.checks import MAX_CHECK_BYTES, TextOrigin
from penstock.contract.guard.policies import CATEGORIES, KINDS
from penstock.runtime.config.problems import nearest

__all__ = ["Example", "Label", "read_labelled_set"]

_MOST_SHOWN: Final = 20
INJECTION: Final = "prompt_injection"
_NAMES: Final = {
    **{kind: f"{category}/{kind}" for category, kinds in KINDS.items() for kind in kinds},
    **{f"{category}/{kind}": f"{category}/{kind}" for category, kinds in KINDS.items() for kind in kinds},
    **{category: category for category in CATEGORIES if category not in KINDS},
}
"""What a line may name -> the name of such findings."""


class _Span(Struct, frozen=True):
    start: int
    end: int
    kind: str


class _Line(Struct, frozen=True):
    """A line as it is written; other keys are ignored."""

    text: str
    findings: tuple[_Span, ...] | UnsetType = UNSET
    kinds: tuple[str, ...] | UnsetType = UNSET
    label: Literal["injection", "harmless"] | UnsetType = UNSET
    origin: TextOrigin = "user"


class Label(Struct, frozen=True):
    """One finding that is in a text."""

    name: str
    """Category and kind, as `personal_data/email`."""
    start: int = 0
    end: int = 0
    """The place as characters, the end exclusive; 0 and 0: anywhere in the text."""

    def covers(self, start: int, end: int) -> bool:
        """Whether a finding at this place is the one of the label; 0 and 0: a finding without a place."""
        return not self.end or not end or (start < self.end and self.start < end)


class Example(Struct, frozen=True, kw_only=True):
    """One text with everything that is in it."""

    line: int
    text: str
    origin: TextOrigin
    labels: tuple[Label, ...]
    judged: frozenset[str] | None
    """The findings of which this text shows whether they are right; None: all that the set is about."""
    has_places: bool = False


_decoder: Final = msgspec.json.Decoder(_Line)


def read_labelled_set(path: Path) -> list[Example]:
    """The texts in the order of the file. Raises CommandError with every mistake and its line number."""
    try:
        lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines()
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from error
    examples: list[Example] = []
    mistakes: list[str] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            examples.append(_example(number, line))
        except (ValueError, msgspec.MsgspecError) as error:  # ValueError: text that is not UTF-8, too
            mistakes.append(f"{path}:{number}: {error}")
    if mistakes:
        rest = len(mistakes) - _MOST_SHOWN
        more = [f"and {rest} more"] if rest > 0 else []
        raise CommandError("\n".join([*mistakes[:_MOST_SHOWN], *more]))
    if not examples:
        raise CommandError(
            f"{path} has no texts: write one JSON object a line (docs/guard.md has the format)"
        )
    return examples


def _example(number: int, line: bytes) -> Example:
    """Raises ValueError and MsgspecError with the mistake."""
    read = _decoder.decode(line)
    given = [name for name in ("findings", "kinds", "label") if getattr(read, name) is not UNSET]
    if len(given) != 1:
        raise ValueError("needs exactly one of findings, kinds and label")
    if len(read.text.encode()) > MAX_CHECK_BYTES:
        raise ValueError("the text is longer than 1 MiB")
    if read.label is not UNSET:
        labels = (Label(INJECTION),) if read.label == "injection" else ()
        return _made(number, read, labels, frozenset((INJECTION,)))
    return _made(number, read, tuple(_labels(read)), None)


def _made(number: int, read: _Line, labels: tuple[Label, ...], judged: frozenset[str] | None) -> Example:
    return Example(
        line=number,
        text=read.text,
        origin=read.origin,
        labels=labels,
        judged=judged,
        has_places=read.findings is not UNSET,
    )


def _labels(read: _Line) -> Iterator[Label]:
    for span in read.findings or ():
        if not 0 <= span.start < span.end <= len(read.text):
            raise ValueError(
                f"there are no characters {span.start} to {span.end} in the text, which has {len(read.text)}"
            )
        yield Label(_name(span.kind), span.start, span.end)
    yield from (Label(_name(kind)) for kind in dict.fromkeys(read.kinds or ()))


def _name(kind: str) -> str:
    if kind not in _NAMES:
        raise ValueError(f"{kind!r} is not a kind of findings: {nearest(kind, _NAMES)}")
    return _NAMES[kind]
