"""The section `guard`: when content is checked, by which detectors, and what happens to their findings.

A catalogue without this section has no guard, and no content is checked. docs/guard.md explains how policies are
merged.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Struct, field

from penstock.contract.guard.policies import Action, GuardMode, WhenUnavailable
from penstock.contract.names import Role
from penstock.runtime.config.bounds import Limit, Positive, bounded

__all__ = ["AccountGuard", "Detectors", "Guard", "LocalDetector", "OpenAIModeration", "SafetyModel"]

_INPUT: Final[dict[str, Action]] = {"prompt_injection": "block", "secrets": "flag", "personal_data": "flag"}
_OUTPUT: Final[dict[str, Action]] = {"secrets": "redact"}
_WindowCharacters = Annotated[
    int,
    bounded(
        "is not a number of characters from 100 to 20000",
        "write how much text is moderated at once",
        ge=100,
        le=20_000,
    ),
]


class LocalDetector(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A detector in the process of the guard."""

    timeout_s: Positive = 1.0
    when_unavailable: WhenUnavailable = "refuse"


class SafetyModel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A guard model, called through a role of the catalogue."""

    enabled: bool = False
    role: Role = "safety"
    format: Literal["llama_guard", "gpt_oss_safeguard"] = "llama_guard"
    policy: str = ""
    """The policy text that the model gets; empty: the one that Penstock ships for the format."""
    timeout_s: Positive = 5.0
    max_concurrency: Limit = 16
    when_unavailable: WhenUnavailable = "allow"


class OpenAIModeration(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The moderation endpoint of OpenAI, or one with the same interface."""

    enabled: bool = False
    model: str = "omni-moderation-latest"
    base_url: str | None = None
    """With the version path (`https://host/v1`); None means OpenAI's."""
    api_key_env: str = "OPENAI_API_KEY"
    """The name of an environment variable, or of a file in the directory of secrets."""
    requests_per_minute: Limit | None = 1_000
    """The limit of each guard process."""
    timeout_s: Positive = 5.0
    max_concurrency: Limit = 16
    when_unavailable: WhenUnavailable = "allow"


class Detectors(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of each detector."""

    secrets: LocalDetector = field(default_factory=LocalDetector)
    personal_data: LocalDetector = field(default_factory=LocalDetector)
    prompt_injection: LocalDetector = field(default_factory=LocalDetector)
    safety_model: SafetyModel = field(default_factory=SafetyModel)
    openai_moderation: OpenAIModeration = field(default_factory=OpenAIModeration)


class AccountGuard(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What differs for one account; None and what is not named come from the section."""

    mode: GuardMode | None = None
    input: dict[str, Action] = field(default_factory=dict)
    output: dict[str, Action] = field(default_factory=dict)
    restore: bool | None = None


class Guard(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rules of the safety guard that apply until `penstock guard set` changes them."""

    mode: GuardMode = "beside"
    input: dict[str, Action] = field(default_factory=lambda: dict(_INPUT))
    """By category, or by category and kind as in `personal_data/email`, which goes before its category."""
    output: dict[str, Action] = field(default_factory=lambda: dict(_OUTPUT))
    restore: bool = True
    """Whether the values that were redacted from the input are put into the answer in place of their placeholders."""
    wait_s: Positive = 6.0
    """How long a worker waits for a verdict before the `when_unavailable` of the detectors decides."""
    moderation_window_characters: _WindowCharacters = 600
    """How much of an answer is moderated at once while it streams, where the policy moderates output."""
    detectors: Detectors = field(default_factory=Detectors)
    accounts: dict[str, AccountGuard] = field(default_factory=dict)
    log_content: bool = False
    """Whether the text of findings stands in the log of the guard; for tests of a policy, never in production."""
