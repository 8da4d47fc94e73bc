"""A chain as a person reads it."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.contract.explain import DrawnStep

__all__ = ["chain_text"]


def chain_text(chain: Sequence[str], weighted: Sequence[DrawnStep]) -> str:
    """`gpt-4o 70 | azure-gpt-4o 30 → gpt-4o-mini`."""
    texts = {step.models[0]: _step_text(step) for step in weighted}
    inside = {model for step in weighted for model in step.models}
    return " → ".join(texts.get(model, model) for model in chain if model in texts or model not in inside)


def _step_text(step: DrawnStep) -> str:
    return " | ".join(f"{model} {weight}" for model, weight in zip(step.models, step.weights, strict=True))
