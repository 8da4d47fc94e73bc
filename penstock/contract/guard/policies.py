"""Guard policies: what happens to the findings of each category, by account; records of the bucket `llm_guard`."""

from __future__ import annotations

from typing import Final, Literal, get_args

from msgspec import Struct, field

__all__ = [
    "ACTIONS",
    "CATEGORIES",
    "DETECTORS",
    "EVERY",
    "GUARD_ACCOUNT",
    "HAZARD_CATEGORIES",
    "HAZARD_DETECTORS",
    "KINDS",
    "LOCAL_DETECTORS",
    "PLACED_DETECTORS",
    "Action",
    "DetectorName",
    "Direction",
    "GuardMode",
    "GuardPolicy",
    "WhenUnavailable",
    "is_subject_of_policy",
]

Direction = Literal["input", "output"]
"""`input`: the messages of a request; `output`: the answer of a model."""
GuardMode = Literal["before", "beside", "off"]
"""When the input is checked. `before`: nothing is sent to a provider until the verdict. `beside`: the provider is
called at once, and its output is held back until the verdict. `off`: neither input nor output is checked."""
Action = Literal["allow", "flag", "redact", "block"]
"""What happens to content with a finding, the weakest first. `flag`: it passes and is reported. `redact`: the finding
is replaced by a placeholder; only possible for secrets and personal data."""
ACTIONS: Final[tuple[Action, ...]] = get_args(Action)
WhenUnavailable = Literal["allow", "refuse"]
"""What happens to content that a detector could not check: `allow` fails open, `refuse` fails closed."""
DetectorName = Literal["secrets", "personal_data", "prompt_injection", "safety_model", "openai_moderation"]
DETECTORS: Final[tuple[DetectorName, ...]] = get_args(DetectorName)
PLACED_DETECTORS: Final[tuple[DetectorName, ...]] = ("secrets", "personal_data")
"""Those whose findings have a place in the text, which can be redacted."""
LOCAL_DETECTORS: Final[tuple[DetectorName, ...]] = (*PLACED_DETECTORS, "prompt_injection")
"""Those that run in the guard itself. Each finds one category, which has its name."""
HAZARD_DETECTORS: Final[tuple[DetectorName, ...]] = ("safety_model", "openai_moderation")
"""The models. Each finds HAZARD_CATEGORIES."""
HAZARD_CATEGORIES: Final = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/intent",
    "self-harm/instructions",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)
"""Harmful content: the categories of OpenAI's moderation endpoint (its reference, "Create moderation",
omni-moderation-latest)."""
CATEGORIES: Final[tuple[str, ...]] = (*LOCAL_DETECTORS, *HAZARD_CATEGORIES)
"""The categories of findings."""
KINDS: Final = {
    "secrets": (
        "aws_access_key",
        "anthropic_key",
        "generic_secret",
        "github_token",
        "gitlab_token",
        "google_api_key",
        "groq_key",
        "hugging_face_token",
        "jwt",
        "npm_token",
        "openai_key",
        "other_secret",
        "penstock_key",
        "private_key",
        "slack_token",
        "stripe_key",
        "telegram_bot_token",
        "url_password",
    ),
    "personal_data": (
        "email",
        "iban",
        "ip_address",
        "payment_card",
        "phone",
        "ru_inn",
        "ru_passport",
        "ru_snils",
        "tr_tckn",
        "us_ssn",
    ),
}
"""The kinds of findings in the categories that have kinds."""
GUARD_ACCOUNT: Final = "penstock-guard"
"""The account whose requests the guard sends to its safety model: they are not checked themselves, so no key and no
application may use it."""
EVERY: Final = "*"
"""The account of the policy of each account without one of its own."""


def is_subject_of_policy(name: str) -> bool:
    """Whether an action can be set for `name`: a category, or a kind of one as in `personal_data/email`."""
    category, _, kind = name.partition("/")
    return name in CATEGORIES or kind in KINDS.get(category, ())


class GuardPolicy(Struct, frozen=True, kw_only=True, tag="guard_policy", tag_field="type"):
    """What the guard does for one account. A field that is None, and a category or kind that is not named, comes from
    the policy of every account, then from the configuration.
    """

    account: str
    """`*`: every account without a policy of its own."""
    mode: GuardMode | None = None
    input: dict[str, Action] = field(default_factory=dict)
    """By category, or by category and kind as in `personal_data/email`, which goes before its category."""
    output: dict[str, Action] = field(default_factory=dict)
    when_unavailable: dict[DetectorName, WhenUnavailable] = field(default_factory=dict)
    restore: bool | None = None
    """Whether the values that were redacted from the input are put into the answer in place of their placeholders."""
    version: int = 0
    """Rises by one with each change; 0: from the configuration file."""
    changed_by: str = ""
    changed_ms: int = 0
    note: str = ""
    v: int = 1
