"""The section `guard`: when content is checked, by which detectors, and what happens to their findings.

A catalogue without this section has no guard, and no content is checked. docs/guard.md explains how policies are
merged.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal

from msgspec import Struct, field

from penstock.contract.guard.policies import (
    CATEGORIES,
    HAZARD_CATEGORIES,
    KINDS,
    Action,
    GuardMode,
    WhenUnavailable,
    is_subject_of_policy,
)
from penstock.contract.names import Role
from penstock.contract.subjects import MAX_TOKEN_CHARACTERS, is_token
from penstock.runtime.config.bounds import Limit, Positive, bounded
from penstock.runtime.config.problems import ProblemReport, joined, nearest

__all__ = [
    "AccountGuard",
    "Detectors",
    "Guard",
    "LocalDetector",
    "OpenAIModeration",
    "SafetyModel",
    "action_problem",
    "check_guard",
    "is_searched",
    "read_guard",
]

_INPUT: Final[dict[str, Action]] = {"prompt_injection": "flag", "secrets": "flag", "personal_data": "flag"}
"""Nothing is blocked before an operator says so: injection is recognised with errors in both directions."""
_OUTPUT: Final[dict[str, Action]] = {"secrets": "redact"}
_SUBJECTS: Final = (
    *CATEGORIES,
    *(f"{category}/{kind}" for category, kinds in KINDS.items() for kind in kinds),
)
"""Everything for which an action can be set."""
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

    timeout_s: Positive = 3.0
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
    """How long a worker waits for a sign of a guard before the `when_unavailable` of the detectors decides."""
    moderation_window_characters: _WindowCharacters = 600
    """How much of an answer is moderated at once while it streams, where the policy moderates output."""
    detectors: Detectors = field(default_factory=Detectors)
    accounts: dict[str, AccountGuard] = field(default_factory=dict)
    log_content: bool = False
    """Whether the text of findings stands in the log of the guard; for tests of a policy, never in production."""


def read_guard(data: dict[str, Any], report: ProblemReport) -> dict[str, Any]:
    """The raw data of a catalogue with the mode `off` as text, which YAML has read as false."""
    if "guard" not in data:
        return data
    section = data["guard"]
    if section is None:
        fix = "write guard: {} for the policy that docs/guard.md describes, or remove the key for no guard"
        report.add("guard", "is empty", fix)
    if not isinstance(section, dict):
        return data
    accounts = section.get("accounts")
    if isinstance(accounts, dict):
        section = {**section, "accounts": {name: _with_mode(entry) for name, entry in accounts.items()}}
    return {**data, "guard": _with_mode(section)}


def action_problem(name: str, action: Action) -> tuple[str, str] | None:
    """Why no policy can have this action for the category or kind `name`, and a fix; None: a policy can have it."""
    if not is_subject_of_policy(name):
        return "is not a category or kind of findings", _nearest_subject(name)
    if action == "redact" and name.partition("/")[0] not in KINDS:
        return "cannot be redacted, because such a finding has no place in the text", "write block or flag"
    return None


def is_searched(name: str, detectors: Detectors) -> bool:
    """Whether an enabled detector finds the category or kind `name`."""
    return (
        name not in HAZARD_CATEGORIES or detectors.safety_model.enabled or detectors.openai_moderation.enabled
    )


def check_guard(guard: object, report: ProblemReport) -> None:
    """Report every mistake in the policies of the section that could be read."""
    if not isinstance(guard, Guard):
        return
    accounts: object = guard.accounts
    for name in accounts if isinstance(accounts, dict) else ():
        if not is_token(name):
            fix = f"use 1 to {MAX_TOKEN_CHARACTERS} of A-Z a-z 0-9 _ -; what applies to all stands above accounts"
            report.add(joined("guard.accounts", name), "is not a valid name of an account", fix)
    for path, name, action in _actions(guard):
        problem = action_problem(name, action)
        if problem is not None:
            report.add(path, *problem)
        elif action != "allow" and _is_surely_not_searched(name, guard.detectors):
            fix = "enable guard.detectors.safety_model or guard.detectors.openai_moderation, or remove it"
            report.add(path, "has no effect, because no enabled detector finds this", fix)


def _with_mode(policy: Any) -> Any:
    return {**policy, "mode": "off"} if isinstance(policy, dict) and policy.get("mode") is False else policy


def _nearest_subject(name: str) -> str:
    as_kind = [subject for subject in _SUBJECTS if subject.endswith(f"/{name}")]
    close = as_kind[:1] or difflib.get_close_matches(name, _SUBJECTS, n=1)
    return f"write {close[0]}, if that is what you meant" if close else nearest(name, CATEGORIES)


def _actions(guard: Guard) -> Iterator[tuple[str, str, Action]]:
    """Every action that could be read, with its path and its category or kind."""
    accounts: object = guard.accounts
    policies: dict[str, Guard | AccountGuard] = {"guard": guard}
    if isinstance(accounts, dict):
        policies |= {joined("guard.accounts", name): entry for name, entry in accounts.items()}
    for path, policy in policies.items():
        for direction in ("input", "output"):
            actions: object = getattr(policy, direction)
            if isinstance(actions, Mapping):
                yield from ((joined(path, direction, name), name, action) for name, action in actions.items())


def _is_surely_not_searched(name: str, detectors: object) -> bool:
    """False where the settings of the detectors could not be read."""
    if not isinstance(detectors, Detectors):
        return False
    models = (detectors.safety_model, detectors.openai_moderation)
    are_read = all(getattr(model, "enabled", None) in (True, False) for model in models)
    return are_read and not is_searched(name, detectors)
