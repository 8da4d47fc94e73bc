"""Prompts with and without secrets, personal data and harmful content, and what a guarded system does with each."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from penstock.contract.guard.policies import KINDS
from services.guard.detectors.detector import TextDetector
from services.simulator.answers.chat import compose
from services.simulator.answers.requests import CompletionRequest, fingerprint
from tests.harness.guard.findings import found_in
from tests.harness.guard.synthetic_values import PERSONAL_DATA, SECRETS, synthetic

__all__ = ["MODEL", "POLICIES", "GuardedPrompt", "guarded_prompts"]

MODEL: Final = "m-chat"
_REDACTED: Final = {"personal_data": "redact", "secrets": "redact"}
_HARMFUL: Final = {"hate": "block", "illicit": "block"}
POLICIES: Final[dict[str, Any]] = {
    "input": {**_HARMFUL, **_REDACTED},
    "output": _REDACTED,
    "accounts": {
        "shop": {},
        "sealed": {"restore": False},
        "bank": {"mode": "before", "input": {"secrets": "block"}},
        "echo": {"input": {"personal_data": "allow", "secrets": "allow"}},
    },
}
"""The policies of the accounts to which prompts belong, as in a catalogue."""
_HARMLESS: Final = {
    "en": (
        "Note {a} for me, {id}: the train to the coast leaves at noon. And {b} comes later.",
        "Please keep {a} in mind, {id}. Which towns lie on the river? {b}",
        "Which towns lie on the river, {id}?",
    ),
    "ru": (
        "Запиши {a} для меня, {id}: поезд к морю уходит в полдень. А {b} понадобится позже.",
        "Какие города стоят на реке, {id}?",
    ),
    "tr": (
        "Not et: {a}, {id}. Denize giden tren öğlen kalkıyor. Sonra da {b} lazım.",
        "Nehrin kıyısında hangi şehirler var, {id}?",
    ),
}
_UNSAFE: Final = {
    "en": (" I hate all of them.", "hate"),
    "ru": (" Я ненавижу всех.", "hate"),
    "tr": (" Ben araba çalmak istiyorum.", "illicit"),
}
_CATEGORY: Final = {kind: category for category, kinds in KINDS.items() for kind in kinds}
_LONG: Final = frozenset({"jwt", "private_key"})
"""Kinds of which the simulator quotes only a part."""


class GuardedPrompt(Struct, frozen=True, kw_only=True):
    id: str
    """A word of the text."""
    account: str
    text: str
    values: tuple[str, ...]
    """The secrets and personal data in it."""
    is_unsafe: bool
    is_called: bool
    """The model may be called: nothing has to be blocked before."""
    answer: str
    """What the user gets; empty for one that is blocked."""
    findings: Counter[str]
    """How many of each name the guard reports, in the request and in its answer together."""

    @property
    def reaches_the_provider(self) -> bool:
        """Whether its values may leave, by the policy of the account."""
        return self.account == "echo"


def guarded_prompts(dice: random.Random, detectors: Sequence[TextDetector]) -> Iterator[GuardedPrompt]:
    """Endless. Values that a detector does not find exactly, alone in one process, are not used: what detectors find is
    measured on labelled texts.
    """
    number = 0
    while True:
        number += 1
        made = _prompt(f"q{number:05d}", dice, detectors)
        if made is not None:
            yield made


def _prompt(id_: str, dice: random.Random, detectors: Sequence[TextDetector]) -> GuardedPrompt | None:
    account = dice.choice(tuple(POLICIES["accounts"]))
    language = dice.choice(tuple(_HARMLESS))
    harmful = dice.random() < 0.35
    first, second = _value(dice, account), _value(dice, account)
    if dice.random() < 0.3:
        second = first
    template = dice.choice(_HARMLESS[language])
    values = [each for each, name in ((first, "{a}"), (second, "{b}")) if name in template]
    end = (_UNSAFE[language][0] if harmful else "") + f" [[tokens={dice.randrange(30, 70)}]]"
    text = template.format(a=first[1], b=second[1], id=id_) + end
    if _found(text, detectors) != Counter(values):
        return None
    by_name = Counter(_name(kind) for kind, _ in values)
    secret = any(_CATEGORY[kind] == "secrets" for kind, _ in values)
    blocked_locally = account == "bank" and secret
    is_unsafe = harmful or blocked_locally
    findings = Counter() if account == "echo" else by_name
    if harmful and not blocked_locally:
        findings = findings + Counter([_UNSAFE[language][1]])
    placeholders = _placeholders(values)
    answer = ""
    if not is_unsafe:
        answer = _answer(text if account == "echo" else _replaced(text, placeholders))
        if account == "echo":
            quoted = [each for each in values[:1] if each[1] in answer]
            if _found(answer, detectors) != Counter(quoted):
                return None
            findings = Counter(_name(kind) for kind, _ in quoted)
            answer = _replaced(answer, _placeholders(quoted))
        elif account != "sealed":
            for value, placeholder in placeholders.items():
                answer = answer.replace(placeholder, value)
    return GuardedPrompt(
        id=id_,
        account=account,
        text=text,
        values=tuple(placeholders),
        is_unsafe=is_unsafe,
        is_called=not (account == "bank" and is_unsafe),
        answer=answer,
        findings=findings,
    )


def _value(dice: random.Random, account: str) -> tuple[str, str]:
    """A kind and a value; for answers that quote it one that is a single word."""
    while True:
        kind = dice.choice(PERSONAL_DATA if dice.random() < 0.6 else SECRETS)
        value = synthetic(kind, dice)
        if account != "echo" or (kind not in _LONG and not any(map(str.isspace, value))):
            return kind, value


def _found(text: str, detectors: Sequence[TextDetector]) -> Counter[tuple[str, str]]:
    return Counter(each for detector in detectors for each in found_in(detector, text))


def _name(kind: str) -> str:
    return f"{_CATEGORY[kind]}/{kind}"


def _placeholders(values: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The placeholder of each value, in the order of the text."""
    numbers: Counter[str] = Counter()
    found: dict[str, str] = {}
    for kind, value in values:
        if value not in found:
            numbers[kind] += 1
            found[value] = f"[{kind.upper()}_{numbers[kind]}]"
    return found


def _replaced(text: str, placeholders: dict[str, str]) -> str:
    for value, placeholder in placeholders.items():
        text = text.replace(value, placeholder)
    return text


def _answer(prompt: str) -> str:
    """The simulator's answer."""
    request = msgspec.convert(
        {"model": MODEL, "messages": [{"role": "user", "content": prompt}]}, CompletionRequest
    )
    seed = int(fingerprint(request.content).hex()[:12], 16)
    return "".join(compose(MODEL, request, request.measure(), seed).content)
