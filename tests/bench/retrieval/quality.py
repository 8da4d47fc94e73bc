"""Retrieval: which share of the labelled questions is answered by the first five passages, and what texts cost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from penstock.runtime.retrieval.terms import terms
from tests.bench.targets import Target
from tests.harness.retrieval.labelled import LANGUAGES, documents, questions
from tests.harness.retrieval.measured import measure

__all__ = ["retrieval_quality_figures", "retrieval_quality_targets"]

_RECALL: Final = "retrieval_recall_at_5"
_ALL: Final = "all"
_HELD_OUT: Final = "held_out"


def retrieval_quality_figures(directory: Path) -> dict[str, Any]:
    """`retrieval_recall_at_5`: by method, of all questions, of those that nothing was tuned on, by language, of those
    about docs/, and of those without a word of the answer. `cross_language_recall_at_5`, and `_at_1` among twelve
    texts: of questions in another language than their answer. `terms_us_per_kb`: normalised words.
    `encoder_us_per_character`: CPU of the local model, and of chunking and storing.
    """
    asked, (measured,) = questions(), measure("whole", str(directory))
    groups: dict[str, list[bool]] = {
        _ALL: [True] * len(asked),
        _HELD_OUT: [each.held_out for each in asked],
        **{language: [each.language == language for each in asked] for language in LANGUAGES},
        "docs": [each.document.startswith("docs/") for each in asked],
        "paraphrase": [each.paraphrase for each in asked],
    }
    return {
        _RECALL: {
            method: {name: _share(answers, chosen) for name, chosen in groups.items()}
            for method, answers in measured.answered.items()
        },
        "cross_language_recall_at_5": _shares(measured.cross_language),
        "cross_language_recall_at_1": _shares(measured.first_of_few),
        "retrieval_questions": {name: sum(chosen) for name, chosen in groups.items()},
        "retrieval_chunks": measured.chunks,
        "encoder_us_per_character": measured.us_per_character,
        "terms_us_per_kb": _terms_us_per_kb(list(documents().values())),
    }


def retrieval_quality_targets(report: dict[str, Any]) -> list[Target]:
    found, cross = report[_RECALL], report["cross_language_recall_at_5"]
    text = "retrieval: percent of the questions without an answer in 5 passages"
    missed = [(name, 10.0) for name in (_ALL, _HELD_OUT)] + [(name, 12.0) for name in LANGUAGES]
    return [
        *(
            Target(f"{text}, {name}", round(100 * (1 - found["hybrid"][name]), 1), most)
            for name, most in missed
        ),
        *(
            Target(
                f"retrieval: percent answered less by both searches than by {method} alone",
                round(100 * (found[method][_ALL] - found["hybrid"][_ALL]), 1),
                0.0,
            )
            for method in ("vector", "text")
        ),
        Target(
            "retrieval: percent answered less by both searches than by vector, in another language",
            round(100 * (cross["vector"] - cross["hybrid"]), 1),
            3.1,
        ),
        Target("retrieval: us of normalised words per KB", report["terms_us_per_kb"], 200.0),
    ]


def _shares(answered: dict[str, list[bool]]) -> dict[str, float]:
    return {method: _share(answers, [True] * len(answers)) for method, answers in answered.items()}


def _share(answered: Sequence[bool], chosen: Sequence[bool]) -> float:
    taken = [yes for yes, is_chosen in zip(answered, chosen, strict=True) if is_chosen]
    return round(sum(taken) / len(taken), 3)


def _terms_us_per_kb(texts: Sequence[str]) -> float:
    size = sum(len(text.encode()) for text in texts)
    began_s = time.process_time()
    for text in texts:
        terms(text)
    return round((time.process_time() - began_s) * 1e6 / (size / 1_000), 1)
