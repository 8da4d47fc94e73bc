"""The local detectors of secrets and personal data: CPU time per KB of clean text, recall and precision by kind."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from statistics import mean
from typing import Any, Final

from penstock.contract.guard.checks import CheckedText
from services.guard.detectors.detector import TextDetector
from services.guard.personal_data.detector import PersonalDataDetector
from services.guard.secrets.detector import SecretDetector
from tests.bench.targets import Target
from tests.harness.guard.labelled_findings import labelled_texts, score

__all__ = ["rule_figures", "rule_targets"]

_ROOT: Final = Path(__file__).parents[3]
_KB: Final = (1, 20)
"""Lengths of the texts."""
_CHARACTERS: Final = 400_000
"""Of each kind of text."""
_ROUNDS: Final = 3
_SEEDS: Final = range(1, 6)


def rule_figures() -> dict[str, Any]:
    """`guard_us_per_kb`: both detectors, the most expensive kind and length of text.

    `guard_recall` and `guard_precision`: by kind, of the labelled texts, each with five sets of values.
    """
    detectors: tuple[TextDetector, ...] = (SecretDetector(), PersonalDataDetector())
    by_text, share = {}, []
    for name, text in _texts().items():
        for kb in _KB:
            spent = [_us_per_kb(detector, _pieces(text, kb * 1024)) for detector in detectors]
            by_text[f"{name}, {kb} KB"] = round(sum(spent), 1)
            share.append(spent[0] / sum(spent))
    total = score(detectors, chain.from_iterable(labelled_texts(seed) for seed in _SEEDS))
    return {
        "guard_us_per_kb": max(by_text.values()),
        "guard_us_per_kb_by_text": by_text,
        "guard_share_of_secrets": round(mean(share), 2),
        "guard_recall": _rounded(total.recall()),
        "guard_precision": _rounded(total.precision()),
        "guard_alarms_on_harmless_texts": len(total.harmless_alarms),
    }


def rule_targets(report: dict[str, Any]) -> list[Target]:
    """The report holds recall and precision of prompt injection too, by language as `prompt_injection/en`."""
    missed = 1 - min(recall for kind, recall in report["guard_recall"].items() if "/" not in kind)
    false = 1 - min(precision for kind, precision in report["guard_precision"].items() if "/" not in kind)
    return [
        Target("guard: us per KB of clean text", report["guard_us_per_kb"], 60.0),
        Target("guard: share missed of the kind that is missed most", round(missed, 3), 0.05),
        Target("guard: share of false findings of the worst kind", round(false, 3), 0.03),
        Target("guard: alarms on harmless texts", report["guard_alarms_on_harmless_texts"], 0.0),
    ]


def _us_per_kb(detector: TextDetector, texts: Sequence[CheckedText]) -> float:
    size_kb = sum(len(text.text.encode()) for text in texts) / 1024
    rounds = []
    for _ in range(_ROUNDS):
        began_s = time.process_time()
        for text in texts:
            detector.find(text)
        rounds.append((time.process_time() - began_s) * 1e6 / size_kb)
    return min(rounds)


def _pieces(text: str, size: int) -> list[CheckedText]:
    """Texts of about so many bytes."""
    data = text.encode()
    return [
        CheckedText(text=data[start : start + size].decode("utf-8", "ignore"))
        for start in range(0, len(data) - size, size)
    ]


def _texts() -> dict[str, str]:
    return {
        "English": "\n".join(path.read_text() for path in sorted(_ROOT.glob("docs/**/*.md")))[:_CHARACTERS],
        "Russian": _prompts("ru"),
        "Turkish": _prompts("tr"),
        "code": "\n".join(path.read_text() for path in sorted(_ROOT.glob("services/worker/**/*.py")))[
            :_CHARACTERS
        ],
    }


def _prompts(language: str) -> str:
    lines = (_ROOT / f"tests/data/guard/train_{language}.jsonl").read_text().splitlines()
    return "\n".join(str(json.loads(line)["text"]) for line in lines)


def _rounded(by_kind: dict[str, float]) -> dict[str, float]:
    return {kind: round(value, 3) for kind, value in by_kind.items()}
