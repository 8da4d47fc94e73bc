"""The safety guard: the CPU time of the output filter in a worker, by deltas of clean text, and its classifiers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any, Final, cast

from services.worker.guard.guard_checks import CheckedRequest, GuardChecks
from services.worker.guard.output_filter import OutputFilter, OutputRules
from services.worker.guard.placeholders import Placeholders
from services.worker.providers.raw_json import encoded
from services.worker.providers.streams.chunks import ChunkDelta
from tests.bench.guard.classifier import classifier_figures, classifier_targets
from tests.bench.guard.rules import rule_figures, rule_targets
from tests.bench.targets import Target

__all__ = ["guard_figures", "guard_targets"]

_ROOT: Final = Path(__file__).parents[3]
_DELTA_CHARACTERS: Final = (4, 5, 6, 5)
_CHARACTERS: Final = 150_000
"""Of each kind of text."""
_ROUNDS: Final = 5


async def guard_figures() -> dict[str, Any]:
    """`guard_us_per_delta`: the CPU time of the output filter, of the most expensive kind of text; and of deltas that
    are choice objects, as those of reasoning and tool calls, `guard_us_per_choice_delta`.

    `guard_candidates_percent`: the share of deltas after which the guard is asked, by kind of text; the requests to it
    are not in the time.
    """
    found = {**_output_filter_figures(), **rule_figures()}
    for name, figure in (
        await classifier_figures()
    ).items():  # recall and precision are objects by kind, of both
        found[name] = {**found[name], **figure} if name in found else figure
    return found


def guard_targets(report: dict[str, Any]) -> list[Target]:
    return [
        Target("guard: us per delta", report["guard_us_per_delta"], 15.0),
        Target("guard: us per delta with a choice object", report["guard_us_per_choice_delta"], 15.0),
        *rule_targets(report),
        *(
            Target(f"guard: percent of deltas of {name} that ask the guard", figure, 2.0)
            for name, figure in report["guard_candidates_percent"].items()
        ),
        *classifier_targets(report),
    ]


def _output_filter_figures() -> dict[str, Any]:
    texts = {name: read()[:_CHARACTERS] for name, read in _TEXTS.items()}
    found = {name: _filtered(list(_deltas(text))) for name, text in texts.items()}
    choices = {name: _filtered(list(deltas(texts["English"]))) for name, deltas in _CHOICES.items()}
    return {
        "guard_us_per_choice_delta": max(us for us, _ in choices.values()),
        "guard_us_per_choice_delta_by_kind": {name: figures[0] for name, figures in choices.items()},
        "guard_us_per_delta": max(us for us, _ in found.values()),
        "guard_us_per_delta_by_text": {name: figures[0] for name, figures in found.items()},
        "guard_candidates_percent": {name: figures[1] for name, figures in found.items()},
    }


def _filtered(deltas: Sequence[ChunkDelta]) -> tuple[float, float]:
    """CPU us per delta, the median of several rounds; and the percentage of deltas with a candidate."""
    us = median(_one_round(deltas) for _ in range(_ROUNDS))
    take = _filter().take
    suspicious = sum(item.suspicious for delta in deltas for item in take(delta))
    return round(us, 2), round(100 * suspicious / len(deltas), 2)


def _one_round(deltas: Sequence[ChunkDelta]) -> float:
    """Without the time for candidates, which are taken and shown, but not checked."""
    output = _filter()
    take, shown = output.take, output.shown
    began_s = time.process_time()
    for delta in deltas:
        for item in take(delta):
            shown(item)
    return (time.process_time() - began_s) * 1e6 / len(deltas)


def _filter() -> OutputFilter:
    """An output filter that searches, restores nothing and asks no guard."""
    return OutputFilter(
        OutputRules(
            request=cast("CheckedRequest", None),
            checks=cast("GuardChecks", None),
            placeholders=Placeholders(),
            searching=("secrets", "personal_data"),
            moderating=(),
            window_characters=0,
            refuse=lambda _refused: None,
        )
    )


def _deltas(text: str) -> Iterator[ChunkDelta]:
    return map(ChunkDelta, _parts(text))


def _reasoning(text: str) -> Iterator[ChunkDelta]:
    return (_choice({"reasoning_content": part}) for part in _parts(text))


def _tool_call(text: str) -> Iterator[ChunkDelta]:
    arguments = json.dumps({"text": text})
    return (
        _choice({"tool_calls": [{"index": 0, "function": {"arguments": part}}]}) for part in _parts(arguments)
    )


def _choice(delta: dict[str, Any]) -> ChunkDelta:
    return ChunkDelta("", (encoded({"index": 0, "delta": delta, "finish_reason": None}),))


def _parts(text: str) -> Iterator[str]:
    start = 0
    for size in cycle(_DELTA_CHARACTERS):
        if start >= len(text):
            return
        yield text[start : start + size]
        start += size


def _files(pattern: str) -> str:
    return "\n".join(path.read_text() for path in sorted(_ROOT.glob(pattern)))


def _prompts(language: str) -> str:
    lines = (_ROOT / f"tests/data/guard/train_{language}.jsonl").read_text().splitlines()
    return "\n".join(str(json.loads(line)["text"]) for line in lines)


_TEXTS: Final[dict[str, Callable[[], str]]] = {
    "English": lambda: _files("docs/*.md"),
    "Russian": lambda: _prompts("ru"),
    "Turkish": lambda: _prompts("tr"),
    "code": lambda: _files("services/worker/**/*.py"),
    "JSON": lambda: _files("schemas/*.json"),
}
_CHOICES: Final = {"reasoning": _reasoning, "tool call": _tool_call}
