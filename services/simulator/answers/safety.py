"""Verdicts of safety models, in the formats of Llama Guard 3 and gpt-oss-safeguard."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec

from services.simulator.answers.moderation import moderate
from services.simulator.answers.requests import text_of

__all__ = ["safety_format", "safety_verdict"]

_Format = Literal["llama_guard", "gpt_oss_safeguard"]

_HAZARDS: Final[dict[str, tuple[str, ...]]] = {
    "harassment": (),  # an insult is in none of Llama Guard's hazards
    "harassment/threatening": ("S1",),
    "hate": ("S10",),
    "hate/threatening": ("S1", "S10"),
    "illicit": ("S2",),
    "illicit/violent": ("S9",),
    "self-harm": ("S11",),
    "self-harm/intent": ("S11",),
    "self-harm/instructions": ("S11",),
    "sexual": ("S12",),
    "sexual/minors": ("S4",),
    "violence": ("S1",),
    "violence/graphic": ("S1",),
}
"""Hazards of MLCommons, as Llama Guard 3 numbers them (its model card), by category of the word lists."""
_NAMED_KEY: Final = re.compile(r'"(\w{1,40})"\s*:')


def safety_format(base: str) -> _Format | None:
    """The format in which the model of this base name answers; None: it is no safety model."""
    if "safeguard" in base:
        return "gpt_oss_safeguard"
    return "llama_guard" if "safety" in base or "guard" in base else None


def safety_verdict(kind: _Format, messages: Sequence[dict[str, Any]]) -> str:
    """The verdict on the last message of the user or the assistant."""
    judged = [each for each in messages if each.get("role") in ("user", "assistant")]
    found = moderate(text_of(judged[-1]))["categories"] if judged else {}
    categories = [name for name, is_found in found.items() if is_found]
    if kind == "llama_guard":
        return _llama_guard(categories)
    policy = "\n".join(text_of(each) for each in messages if each.get("role") in ("system", "developer"))
    return _safeguard(categories, policy)


def _llama_guard(categories: list[str]) -> str:
    """`safe`, or `unsafe` and a line with the hazards."""
    hazards = {hazard for category in categories for hazard in _HAZARDS[category]}
    if not hazards:
        return "safe"
    return "unsafe\n" + ",".join(sorted(hazards, key=lambda hazard: int(hazard[1:])))


def _safeguard(categories: list[str], policy: str) -> str:
    """A JSON object with the keys that the policy shows as `"key":`, of those below; `violation` and `policy_category`
    if it shows none. OpenAI's user guide of gpt-oss-safeguard has these keys.
    """
    first = categories[0] if categories else None
    known = {
        "violation": int(bool(categories)),
        "policy_category": first,
        "category": first,
        "categories": categories,
        "rule_ids": categories,
        "confidence": "high",
        "rationale": f"The content matches {', '.join(categories)}." if categories else "Nothing matches.",
    }
    shown = [key for key in dict.fromkeys(_NAMED_KEY.findall(policy)) if key in known]
    keys = shown or ["violation", "policy_category"]
    return msgspec.json.encode({key: known[key] for key in keys}).decode()
