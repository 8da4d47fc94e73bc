"""What a detector is: it finds secrets, personal data, injected instructions or harmful content in texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Literal, Protocol, get_args

from msgspec import Struct

from penstock.contract.guard.checks import CheckedText, Finding
from penstock.contract.guard.policies import DetectorName

__all__ = [
    "BREAKER_OPEN",
    "FAILURE_REASONS",
    "NOT_ENABLED",
    "NO_QUOTA",
    "QUEUE_FULL",
    "TOO_MUCH_TEXT",
    "Detection",
    "Detector",
    "DetectorUnavailable",
    "FailureReason",
    "Match",
    "TextDetector",
]

FailureReason = Literal["timeout", "no quota", "breaker open", "not enabled", "queue full", "too much text"]
"""Why a detector could not check texts, where metrics count it by itself; every other reason is an error in words."""
FAILURE_REASONS: Final = get_args(FailureReason)
NO_QUOTA: Final[FailureReason] = "no quota"
BREAKER_OPEN: Final[FailureReason] = "breaker open"
NOT_ENABLED: Final[FailureReason] = "not enabled"
QUEUE_FULL: Final[FailureReason] = "queue full"
TOO_MUCH_TEXT: Final[FailureReason] = "too much text"


class Detection(Struct, frozen=True):
    """What a detector found in the texts of one check."""

    findings: tuple[Finding, ...] = ()
    """Their `action` is left at its default: the policy of the account decides it."""
    scores: dict[str, float] = {}
    """The highest score of each category that the detector rated, found or not."""


class DetectorUnavailable(Exception):
    """The detector could not check all texts; the message says why, without content."""

    def __init__(self, why: str, found: Detection = Detection()) -> None:  # noqa: B008 - frozen
        """`found`: in the texts that it did check."""
        super().__init__(why)
        self.found = found


class Detector(Protocol):
    @property
    def name(self) -> DetectorName: ...

    async def detect(self, texts: Sequence[CheckedText]) -> Detection:
        """Raises DetectorUnavailable."""
        ...


class Match(Struct, frozen=True, gc=False):
    """One place in one text: characters from `start` to `end`, the end exclusive."""

    start: int
    end: int
    kind: str
    score: float = 1.0
    """Confidence, from 0 to 1."""


class TextDetector(Protocol):
    """A detector that reads one text at a time, without I/O, in steps. The steps are made in threads."""

    @property
    def name(self) -> DetectorName: ...

    def search(self, text: CheckedText) -> Iterator[Match | None]:
        """The matches; and None after a step of the search without one. No step takes more than some milliseconds."""
        ...
