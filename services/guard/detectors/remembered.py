"""What was found in texts before: the earlier turns of a conversation come with each of its requests."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, Generic, Protocol, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from penstock.contract.guard.checks import CheckedText, Finding
from penstock.contract.guard.policies import DetectorName
from services.guard.detectors.detector import Detection, DetectorUnavailable

__all__ = ["Reading", "Readings", "Remembered", "RememberingDetector"]

_MOST: Final = 4_096
"""Entries, of about 2 KB each."""
_FRESH_S: Final = 600.0
_DIGEST_BYTES: Final = 16
_Value = TypeVar("_Value")


class Remembered(Generic[_Value]):
    """Values by text, for ten minutes. It has digests only, with a key of this process: no text can be read or
    confirmed from it.
    """

    def __init__(self, now_s: Callable[[], float], most: int = _MOST) -> None:
        self._now_s = now_s
        self._most = most
        self._key = secrets.token_bytes(_DIGEST_BYTES)
        self._values: OrderedDict[bytes, tuple[_Value, float]] = OrderedDict()

    def get(self, text: str, context: str) -> _Value | None:
        """`context`: what the value depends on beside the text."""
        digest = self._digest(text, context)
        value, until_s = self._values.get(digest, (None, 0.0))
        if value is None or self._now_s() >= until_s:
            return None
        self._values.move_to_end(digest)
        return value

    def put(self, text: str, context: str, value: _Value) -> None:
        digest = self._digest(text, context)
        self._values[digest] = value, self._now_s() + _FRESH_S
        self._values.move_to_end(digest)
        if len(self._values) > self._most:
            self._values.popitem(last=False)

    def _digest(self, text: str, context: str) -> bytes:
        data = f"{context}\n{text}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(data, digest_size=_DIGEST_BYTES, key=self._key).digest()


class Reading(Struct, frozen=True):
    """What was found in one text."""

    detection: Detection
    whole: bool = True
    """Whether as much of the text was read as by itself. Otherwise it is read again when it comes again."""


class Readings(Struct, frozen=True):
    texts: Sequence[Reading]
    unread: str = ""
    """Why not all texts were read; empty if they were."""


class _TextReader(Protocol):
    @property
    def name(self) -> DetectorName: ...

    async def read(self, texts: Sequence[CheckedText]) -> Readings:
        """One reading for each text, whose findings name the text 0. Raises DetectorUnavailable."""
        ...


class RememberingDetector:
    """Has only those texts read that it has not seen lately."""

    def __init__(self, reader: _TextReader, remembered: Remembered[Detection]) -> None:
        self._reader = reader
        self._remembered = remembered

    @property
    def name(self) -> DetectorName:
        return self._reader.name

    async def detect(self, texts: Sequence[CheckedText]) -> Detection:
        found = [self._remembered.get(text.text, _context(text)) for text in texts]
        unknown = [index for index, each in enumerate(found) if each is None]
        unread = ""
        if unknown:
            readings = await self._reader.read([texts[index] for index in unknown])
            unread = readings.unread
            for index, reading in zip(unknown, readings.texts, strict=True):
                found[index] = reading.detection
                if reading.whole:
                    self._remembered.put(texts[index].text, _context(texts[index]), reading.detection)
        detection = _joined(found)
        if unread:
            raise DetectorUnavailable(unread, detection)
        return detection


def _joined(found: Sequence[Detection | None]) -> Detection:
    findings: list[Finding] = []
    scores: dict[str, float] = {}
    for index, each in enumerate(found):
        if each is not None:
            findings += (replace(finding, text=index) for finding in each.findings)
            for category, score in each.scores.items():
                scores[category] = max(score, scores.get(category, 0.0))
    return Detection(tuple(findings), scores)


def _context(text: CheckedText) -> str:
    return f"{text.origin} {text.start}"
