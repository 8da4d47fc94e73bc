"""The classifiers of the safety guard: CPU time of a prompt, quality on texts that they were not trained on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from statistics import median
from typing import Any, Final

import msgspec

from penstock.contract.guard.checks import CheckedText, Classification
from penstock.contract.names import ROLES
from penstock.runtime.config.catalogue import Catalogue, Model, RoleConfig
from services.guard.classifier.batching import BatchingEncoder
from services.guard.classifier.encoder import Encoder
from services.guard.classifier.topics import TopicClassifier
from services.guard.injection.detector import InjectionDetector
from services.router.routing.features import extract_features
from services.router.routing.role import resolve
from tests.bench.targets import Target
from tests.harness.guard.labelled_attacks import labelled_attacks, quality_of_injection
from tests.unit.router.routing.corpus import TUNED
from tests.unit.router.routing.held_out import HELD_OUT

__all__ = ["classifier_figures", "classifier_targets"]

_PROMPTS: Final = 200
_AT_ONCE: Final = 8
_CATALOGUE: Final = Catalogue(
    name="bench",
    providers={},
    models={"m": Model(provider="p")},
    roles={role: RoleConfig(chain=("m",)) for role in ROLES},
)


async def classifier_figures() -> dict[str, Any]:
    """`guard_ms_per_prompt` and `guard_ms_per_prompt_in_batches`: the CPU time of the detector of prompt injection for
    an ordinary prompt, of `guard_prompt_characters` characters (median). `guard_false_alarms_percent`: of
    harmless texts, many of them traps. `guard_topic_accuracy`: of routing, by the rules alone and with the classifier.
    """
    encoder = Encoder()
    return {
        **(await _cost(encoder)),
        **_injection(encoder),
        "guard_topic_accuracy": await _topics(encoder),
    }


def classifier_targets(report: dict[str, Any]) -> list[Target]:
    missed = {
        name: 1 - recall
        for name, recall in report["guard_recall"].items()
        if name.startswith("prompt_injection/")
    }
    accuracy = report["guard_topic_accuracy"]["held_out"]
    return [
        Target("guard: ms per prompt", report["guard_ms_per_prompt"], 4.0),
        Target("guard: ms per prompt in batches", report["guard_ms_per_prompt_in_batches"], 2.0),
        *(Target(f"guard: missed share of {name}", share, 0.15) for name, share in missed.items()),
        *(
            Target(f"guard: false alarms in % of {name}", percent, 1.0)
            for name, percent in report["guard_false_alarms_percent"].items()
        ),
        Target("routing: wrong share with the classifier", 1 - accuracy["with_classifier"], 0.03),
        Target("routing: wrong share by rules alone", 1 - accuracy["rules"], 0.08),
    ]


async def _cost(encoder: Encoder) -> dict[str, Any]:
    texts = [text.text for text in labelled_attacks() if text.kind == "task"]
    batches = BatchingEncoder(encoder)
    detector = InjectionDetector(batches)
    prompts = [CheckedText(text=texts[i % len(texts)]) for i in range(_PROMPTS)]
    await detector.read(prompts[:20])
    began_s = time.process_time()
    for prompt in prompts:
        await detector.read([prompt])
    single_s = time.process_time() - began_s
    began_s = time.process_time()
    for i in range(0, _PROMPTS, _AT_ONCE):
        await asyncio.gather(*(detector.read([prompt]) for prompt in prompts[i : i + _AT_ONCE]))
    batched_s = time.process_time() - began_s
    await batches.close()
    return {
        "guard_ms_per_prompt": round(single_s * 1000 / _PROMPTS, 2),
        "guard_ms_per_prompt_in_batches": round(batched_s * 1000 / _PROMPTS, 2),
        "guard_prompt_characters": median(len(prompt.text) for prompt in prompts),
    }


def _injection(encoder: Encoder) -> dict[str, Any]:
    found = quality_of_injection(encoder)
    return {
        "guard_recall": {f"prompt_injection/{name}": round(each.recall, 3) for name, each in found.items()},
        "guard_precision": {
            f"prompt_injection/{name}": round(each.precision, 3) for name, each in found.items()
        },
        "guard_false_alarms_percent": {
            f"prompt_injection/{name}": round(100 * each.false_alarms / each.harmless, 2)
            for name, each in found.items()
        },
    }


async def _topics(encoder: Encoder) -> dict[str, dict[str, float]]:
    batches = BatchingEncoder(encoder)
    classifier = TopicClassifier(batches)
    counts: dict[str, list[int]] = {"held_out": [0, 0, 0], "all": [0, 0, 0]}
    for corpus, role, prompt in _routed_prompts():
        by_rules = _role(prompt, None)
        with_classifier = _role(prompt, await classifier.classify(prompt)) if by_rules == "chat" else by_rules
        for name in {corpus, "all"} & counts.keys():
            for index, right in enumerate((True, by_rules == role, with_classifier == role)):
                counts[name][index] += right
    await batches.close()
    return {
        name: {"rules": round(rules / total, 4), "with_classifier": round(classified / total, 4)}
        for name, (total, rules, classified) in counts.items()
    }


def _routed_prompts() -> Iterator[tuple[str, str, str]]:
    """Corpus, role and text."""
    for name, corpus in (("held_out", HELD_OUT), ("tuned", TUNED)):
        for roles in corpus.values():
            for role, prompts in roles.items():
                yield from ((name, role, prompt) for prompt in prompts)


def _role(prompt: str, topic: Classification | None) -> str:
    """By the router. The classifier is asked where it would be: in an unclear text."""
    body = msgspec.json.encode({"messages": [{"role": "user", "content": prompt}]})
    features = extract_features(body)
    choice = resolve("auto", features, _CATALOGUE, ())
    if topic is not None and choice.unclear:
        choice = resolve("auto", features, _CATALOGUE, (), topic=topic)
    return choice.role
