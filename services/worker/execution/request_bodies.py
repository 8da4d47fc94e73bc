"""The body sent to each model, and the changes learned from parameters that models refused."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from penstock.bus.clock import loop_now_s
from penstock.contract.reply import Adapted, Degraded
from penstock.runtime.config.catalogue import Catalogue
from services.worker.degradation.monitor import DegradationMonitor, without_quota
from services.worker.execution.state import Execution, GaveUp
from services.worker.providers.errors.failures import FailureKind, ProviderFailure
from services.worker.providers.parameters.assumed_limit import limit_of, limited, reported
from services.worker.providers.parameters.compose import compose
from services.worker.providers.parameters.learned import LearnedParameters
from services.worker.providers.parameters.request_changes import RequestChanges
from services.worker.retrieval.prompt_cache import marking

__all__ = ["Body", "RequestBodies"]

_log: Final = logging.getLogger(__name__)
_PARAMETERS_ACCEPTED: Final[tuple[FailureKind, ...]] = (
    "refused",
    "context_length",
    "content_filter",
    "random_refusal",
)
"""Failures of a request whose parameters the model has accepted."""


class Body(Struct, frozen=True):
    """What is sent, and how that differs from the request."""

    sent: bytes
    degraded: tuple[Degraded, ...]
    adapted: tuple[Adapted, ...]


class RequestBodies:
    def __init__(self, catalogue: Catalogue, degradation: DegradationMonitor) -> None:
        self._catalogue = catalogue
        self._degradation = degradation
        self._parameters = LearnedParameters(catalogue)

    def compose(self, execution: Execution, model: str) -> Body:
        """Raises GaveUp for a body that cannot be read: the router reads only some of its keys."""
        now_s = loop_now_s()
        shortener = self._degradation.shortener(execution.size, model, now_s)
        change = None if shortener is None else shortener.apply
        rules = self._parameters.adaptation(model, now_s)
        changes = execution.history.request_changes.get(model)
        limit = self._assumed_limit(execution, model)
        try:
            sent, adapted = compose(
                execution.work.body,
                model=self._catalogue.model_name(model),
                role=execution.role if limit is None else limited(execution.role, limit),
                adaptation=rules if changes is None else changes.after(rules),
                stream=execution.work.stream,
                shorten=marking(change) if self._marks_cache(execution, model) else change,
            )
        except (ValueError, RecursionError) as error:
            raise GaveUp("invalid_request", f"the body cannot be read: {error}") from error
        if limit is not None:
            adapted = reported(adapted, limit)
        degraded = () if shortener is None else tuple(shortener.degraded)
        return Body(sent, without_quota(execution.models_without_quota) + degraded, adapted)

    def _marks_cache(self, execution: Execution, model: str) -> bool:
        """Whether the model caches the whole collection before the messages only if it is marked."""
        if execution.retrieved.kind != "whole":
            return False
        provider = self._catalogue.models[model].provider
        return self._catalogue.providers[provider].prompt_cache == "marked"

    def _assumed_limit(self, execution: Execution, model: str) -> int | None:
        work = execution.work
        if work.assumed_output_tokens is None:
            return None
        context_tokens = self._catalogue.models[model].context_tokens
        return limit_of(work.assumed_output_tokens, execution.size.input_tokens, context_tokens)

    def accepted(self, execution: Execution, model: str, sent: bytes) -> None:
        """`model` answered `sent`."""
        changes = execution.history.request_changes.get(model)
        if changes is not None or self._parameters.has_suspicions(model):
            content = hash(bytes(execution.work.body))
            _log_lines(model, self._parameters.record_success(model, sent, changes, content, loop_now_s()))

    def refused(
        self, execution: Execution, model: str, failure: ProviderFailure, sent: bytes
    ) -> ProviderFailure | None:
        """Learn from a failure. Returns the failure to raise in its place where the model refused a parameter that the
        request needs: then the next model is called.
        """
        changes = execution.history.request_changes
        if failure.kind == "parameter":
            own = changes.setdefault(model, RequestChanges())
            changed, lines = self._parameters.record_refusal(model, failure.error, sent, own, loop_now_s())
            _log_lines(model, lines)
            return None if changed else _refusal_of_request(failure)
        if failure.kind in _PARAMETERS_ACCEPTED and model in changes:
            lines = self._parameters.record_other_failure(model, failure.error, changes[model], loop_now_s())
            _log_lines(model, lines)
        return None


def _refusal_of_request(failure: ProviderFailure) -> ProviderFailure:
    return ProviderFailure(
        "refused",
        str(failure),
        status=failure.status,
        retry_after_s=failure.retry_after_s,
        error=failure.error,
    )


def _log_lines(model: str, lines: Iterable[str]) -> None:
    for line in lines:
        _log.warning(
            "%s refused a parameter as it was sent; the parameter is adapted for an hour. This line of the catalogue"
            " spares each worker the refusal: %s",
            model,
            line,
        )
