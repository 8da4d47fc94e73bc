"""Secrets in a text: kingfisher's rules and those of this project, one kind for each place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from penstock.contract.guard.checks import CheckedText
from penstock.contract.guard.policies import DetectorName
from services.guard.detectors.detector import Match
from services.guard.matching.encoded_text import EncodedText
from services.guard.matching.escapes import search_as_read_or_written
from services.guard.matching.overlaps import Found
from services.guard.matching.patterns import PatternSet
from services.guard.matching.slices import search_in_slices
from services.guard.secrets.assignments import ASSIGNMENTS
from services.guard.secrets.kingfisher import KingfisherRules
from services.guard.secrets.private_keys import PRIVATE_KEYS
from services.guard.secrets.tokens import TOKENS
from services.guard.secrets.url_passwords import URL_PASSWORDS

__all__ = ["SecretDetector"]


class SecretDetector:
    """Finds the kinds of the category `secrets`, in time linear in the length of a text."""

    name: Final[DetectorName] = "secrets"

    def __init__(self, cache_dir: Path | None = None, scan_s: float = 60.0) -> None:
        """`scan_s`: for one scan by kingfisher, which nothing can end from outside, so that a thread does not go on
        long after its check was given up.
        """
        self._scan_s = scan_s
        self._kingfisher = KingfisherRules(cache_dir)
        self._patterns = PatternSet((*TOKENS, *PRIVATE_KEYS, *URL_PASSWORDS, *ASSIGNMENTS))

    def find(self, text: CheckedText) -> Sequence[Match]:
        """The places of secrets; those in the context of a text are reported too. Raises DetectorUnavailable."""
        return [match for match in self.search(text) if match is not None]

    def search(self, text: CheckedText) -> Iterator[Match | None]:
        """What `find` returns, in steps."""
        return search_as_read_or_written(text.text, partial(search_in_slices, find=self._find))

    def _find(self, text: EncodedText) -> Iterator[Found | None]:
        yield from self._patterns.find(text)
        yield from self._kingfisher.find(text, self._scan_s)
