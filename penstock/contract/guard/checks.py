"""Checks of texts by the guard, and their verdicts: request/reply."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from penstock.contract.guard.policies import Action, DetectorName, Direction

__all__ = [
    "CONTEXT_CHARACTERS",
    "KEEP_ALIVE_AFTER_S",
    "KEEP_ALIVE_EVERY_S",
    "KEEP_ALIVE_TIMEOUT_S",
    "MAX_CHECK_BYTES",
    "MAX_CHECK_TEXTS",
    "MAX_CLASSIFIED_CHARACTERS",
    "TEXT_OVERHEAD_BYTES",
    "TIMEOUT",
    "CheckedText",
    "Classification",
    "ClassifyRequest",
    "DetectorFailure",
    "Finding",
    "GuardCheck",
    "GuardVerdict",
    "TextOrigin",
]

MAX_CHECK_BYTES: Final = 1024 * 1024
"""UTF-8 bytes of all texts of a check. A guard answers a check with more text, or with more than MAX_CHECK_TEXTS, but
none of its detectors reads it."""
MAX_CHECK_TEXTS: Final = 10_000
TEXT_OVERHEAD_BYTES: Final = 64
"""What a sender adds for each text when it fills a check up to MAX_CHECK_BYTES: in the message a text has field names,
its origin and escapes."""
KEEP_ALIVE_AFTER_S: Final = 0.2
KEEP_ALIVE_EVERY_S: Final = 0.25
"""Seconds after which the sender of a check without a verdict gets a first empty message, and between two of them."""
KEEP_ALIVE_TIMEOUT_S: Final = 0.75
"""Seconds without any message after which a sender takes the guard for frozen or gone, and sends the check again. While
messages come it does not: a repeated check would pay for the calls of models again."""
TIMEOUT: Final = "timeout"
"""Why a detector failed that worked on a check for its whole `timeout_s`."""
CONTEXT_CHARACTERS: Final = 128
"""Characters before a piece of an answer that its sender adds as context. Detectors of places decide by fewer, so that
they find the same in the whole answer."""
MAX_CLASSIFIED_CHARACTERS: Final = 400
"""Characters of a text that count for its topic."""

TextOrigin = Literal["system", "user", "assistant", "tool", "output"]
"""Who wrote a text: the application, the user, a model in an earlier turn, a tool or document, or the model that
answers now. `system` and `assistant` texts are not searched for prompt injection."""


class CheckedText(Struct, frozen=True, kw_only=True):
    """One text to check."""

    text: str
    origin: TextOrigin = "user"
    start: int = 0
    """Characters at the beginning that were checked before and are only context: findings that end in them are not
    reported, and one that begins in them is reported from `start` on."""


class GuardCheck(Struct, frozen=True, kw_only=True, tag="guard_check", tag_field="type"):
    """A question to the guard: which findings are in these texts, and what does the policy of the account say?"""

    id: str
    """The id of the request, for events and logs; empty for a check that belongs to none."""
    account: str
    user: str = ""
    direction: Direction = "input"
    texts: tuple[CheckedText, ...]
    detectors: tuple[DetectorName, ...] = ()
    """The detectors to ask; empty: all that the policy of the account needs for this direction, or all that there are
    if no policy applies."""
    apply_policy: bool = True
    """False: every finding is reported with the action `flag`, whatever the policy of the account, and no event is
    stored."""
    v: int = 1


class Finding(Struct, frozen=True, kw_only=True):
    """One finding in one of the checked texts."""

    text: int = 0
    """Index of the text."""
    start: int = 0
    end: int = 0
    """The place as characters of the text, the end exclusive; 0 and 0: the whole text."""
    category: str
    kind: str = ""
    """The kind of a secret or of personal data, as `email`; empty for other categories."""
    detector: DetectorName
    score: float = 1.0
    """Confidence, from 0 to 1."""
    action: Action = "flag"

    @property
    def name(self) -> str:
        """Category and kind, as `personal_data/email`."""
        return f"{self.category}/{self.kind}" if self.kind else self.category


class DetectorFailure(Struct, frozen=True, kw_only=True):
    """A detector that could not check the texts."""

    detector: DetectorName
    why: str
    """`timeout`, `no quota`, `breaker open`, or an error in words, without content."""
    refuses: bool = False
    """By the policy of the account, content that this detector has not checked is refused."""


class GuardVerdict(Struct, frozen=True, kw_only=True, tag="guard_verdict", tag_field="type"):
    """The answer of the guard."""

    id: str
    action: Action
    """The strongest action of all findings; `allow` without any."""
    findings: tuple[Finding, ...] = ()
    """In the order of texts and places; those of `redact` do not overlap."""
    scores: dict[str, float] = {}
    """The highest score of each category that a detector rated, found or not."""
    failures: tuple[DetectorFailure, ...] = ()
    language: str = ""
    """`en`, `ru` or `tr`: the language of the user's last text; empty if not known."""
    policy_version: int = 0
    elapsed_ms: float = 0.0
    guard: str = ""
    """The instance that answered."""
    v: int = 1

    @property
    def refuses(self) -> bool:
        """Whether a detector that fails closed did not check the texts."""
        return any(failure.refuses for failure in self.failures)


class ClassifyRequest(Struct, frozen=True, kw_only=True, tag="classify_request", tag_field="type"):
    """A question of the router: which topic does a text have that its rules do not recognise?"""

    text: str
    """The first MAX_CLASSIFIED_CHARACTERS are read."""
    v: int = 1


class Classification(Struct, frozen=True, kw_only=True, tag="classification", tag_field="type"):
    """The answer: the most probable topic."""

    topic: Literal["chat", "coding", "logic"]
    probability: float
    v: int = 1
