"""The texts of tests/data/guard/heldout_findings.jsonl: once an unseen set, now a regression test of the rules.

A text holds `{{kind}}` for a synthetic value, made anew for each seed, and `{{=kind:value}}` for a value in a form that
its author chose; the value ends at the first `}}`.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from services.guard.detectors.detector import Match
from tests.harness.guard.labelled_findings import LabelledText
from tests.harness.guard.synthetic_values import synthetic

__all__ = ["heldout_texts"]

_FILE: Final = Path(__file__).parents[2] / "data/guard/heldout_findings.jsonl"
_MARK: Final = re.compile(r"\{\{(?:=([a-z_]+):(.*?)|([a-z_]+))\}\}", re.DOTALL)
_URL_PASSWORD: Final = re.compile(r"://[^:/@\s]*:(.+)@", re.DOTALL)
_SEEDS: Final = (1, 2, 3)
"""Of texts with synthetic values."""


def heldout_texts() -> Iterator[LabelledText]:
    for line, row in enumerate(_FILE.read_text(encoding="utf-8").splitlines(), 1):
        template = json.loads(row)["text"]
        generated = any(mark[3] for mark in _MARK.finditer(template))
        for seed in _SEEDS if generated else _SEEDS[:1]:
            yield _filled(line, template, random.Random(f"{seed}:{template}"))


def _filled(line: int, template: str, rng: random.Random) -> LabelledText:
    text, expected, reached = "", [], 0
    for mark in _MARK.finditer(template):
        text += template[reached : mark.start()]
        kind = mark[1] or mark[3]
        value = synthetic(kind, rng) if mark[3] else mark[2]
        password = _URL_PASSWORD.search(value) if kind == "url_password" else None
        start, end = password.span(1) if password else (0, len(value))
        expected.append(Match(len(text) + start, len(text) + end, kind))
        text += value
        reached = mark.end()
    return LabelledText(line, text + template[reached:], tuple(expected))
