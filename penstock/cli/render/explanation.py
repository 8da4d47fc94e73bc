"""The text of `penstock explain`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from penstock.cli.render.terminal_safe import all_visible
from penstock.contract.explain import RoutingExplained, WeightedModels
from penstock.contract.names import Lane, is_implicit

__all__ = ["chain_text", "explanation_text", "queue_text"]

_ADMITTED_AS: Final[dict[Lane | None, str]] = {
    "interactive": "as an interactive request",
    "batch": "as a job of the batch lane",
    None: "now",
}
"""Admitted does not mean started: the wait is on its own line."""


def explanation_text(explained: RoutingExplained, now_ms: int) -> str:
    """`now_ms`: Unix milliseconds."""
    answer = all_visible(explained)
    return "\n".join(
        (
            f"role        {'none: the request names a model' if is_implicit(answer.role) else answer.role}",
            f"complexity  {answer.complexity}",
            f"why         {answer.why}",
            f"chain       {chain_text(answer.chain, answer.weighted) or 'no model can serve it'}",
            f"wait        {_wait(answer)}",
            f"admitted    {_admitted(answer, now_ms)}",
        )
    )


def chain_text(chain: Sequence[str], weighted: Sequence[WeightedModels]) -> str:
    """`gpt-4o 70 | azure-gpt-4o 30 → gpt-4o-mini`."""
    texts = {step.models[0]: _step_text(step) for step in weighted}
    inside = {model for step in weighted for model in step.models}
    return " → ".join(texts.get(model, model) for model in chain if model in texts or model not in inside)


def _step_text(step: WeightedModels) -> str:
    return " | ".join(f"{model} {weight}" for model, weight in zip(step.models, step.weights, strict=True))


def _admitted(explained: RoutingExplained, now_ms: int) -> str:
    if not explained.chain:
        return "and failed at once by the worker: no model of the chain can serve it"
    kind = _ADMITTED_AS[explained.lane]
    if explained.deadline_ms is None:  # from a router of an older version
        return kind
    left_s = max(0.0, (explained.deadline_ms - now_ms) / 1000)
    return f"{kind}, with {left_s:,.{0 if left_s >= 1 else 2}f} s until its deadline"


def _wait(explained: RoutingExplained) -> str:
    wait_s = explained.wait_s
    if wait_s == 0:
        return "none"
    wait = "not known" if wait_s is None else f"about {wait_s:g} s"
    return wait if explained.queue_position is None else f"{wait}, {queue_text(explained.queue_position)}"


def queue_text(position: int) -> str:
    """`as the next request` or `behind 5 requests`."""
    if position == 0:
        return "as the next request"
    return f"behind {position:,} request{'' if position == 1 else 's'}"
