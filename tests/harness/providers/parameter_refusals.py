"""Requests to a model that refuses parameters, run through the worker's rules without a provider call."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from msgspec import Raw, structs

from penstock.contract.reply import Adapted
from penstock.runtime.config.catalogue import Catalogue, Model, ProviderConfig, RoleConfig
from penstock.runtime.config.parameter_mapping import SentAs
from services.worker.providers.errors.classify import failure_of_status
from services.worker.providers.errors.read_error import ProviderError
from services.worker.providers.parameters.learned import LearnedParameters
from services.worker.providers.parameters.request_changes import RequestChanges

__all__ = ["RefusedRequest", "RefusingWorker", "by_field", "by_message", "from_body", "openai_refusal"]


class RefusingWorker:
    """The rules of one worker for the models `m` and `other`."""

    def __init__(self, mapping: dict[str, SentAs] | None = None) -> None:
        self.now_s = 0.0
        self.lines: list[str] = []
        self.number = 0
        self.learned = LearnedParameters(
            Catalogue(
                name="t",
                providers={"p": ProviderConfig()},
                models={
                    "m": Model(provider="p", parameter_mapping=mapping or {}),
                    "other": Model(provider="p"),
                },
                roles={"chat": RoleConfig(chain=("m", "other"))},
            )
        )

    def sent(self, requested: dict[str, Any], model: str = "m") -> dict[str, Any]:
        """The body of a new request."""
        return RefusedRequest(self, requested, model).sent

    def learn(self, requested: dict[str, Any], error: ProviderError, times: int = 1) -> bool:
        """Let `times` requests be refused with `error` and then succeed. Returns whether all could be changed."""
        changed = True
        for _ in range(times):
            request = RefusedRequest(self, requested)
            changed = request.refused(error) and changed
            if changed:
                request.succeeds()
        return changed


class RefusedRequest:
    """One request to one model."""

    def __init__(
        self,
        worker: RefusingWorker,
        requested: dict[str, Any],
        model: str = "m",
        content: int | None = None,
    ) -> None:
        worker.number += 1
        self._worker = worker
        self._content = worker.number if content is None else content
        self._changes = RequestChanges()
        self._requested = requested
        self._model = model
        self.adapted: tuple[Adapted, ...] = ()

    @property
    def body(self) -> bytes:
        fields = {
            name: Raw(json.dumps(value, separators=(",", ":")).encode())
            for name, value in self._requested.items()
        }
        rules = self._worker.learned.adaptation(self._model, self._worker.now_s)
        self.adapted = self._changes.after(rules).apply(fields)
        return msgspec.json.encode(fields)

    @property
    def sent(self) -> dict[str, Any]:
        fields: dict[str, Any] = json.loads(self.body)
        return fields

    def refused(self, error: ProviderError | None) -> bool:
        """Refuse the request. Returns whether it was changed."""
        learned, now_s = self._worker.learned, self._worker.now_s
        changed, lines = learned.record_refusal(self._model, error, self.body, self._changes, now_s)
        self._worker.lines += lines
        return changed

    def failed(self, error: ProviderError) -> None:
        """Let the request fail for a reason other than a parameter."""
        learned, now_s = self._worker.learned, self._worker.now_s
        self._worker.lines += learned.record_other_failure(self._model, error, self._changes, now_s)

    def succeeds(self) -> None:
        learned, now_s = self._worker.learned, self._worker.now_s
        changes = self._changes if self._changes.refused else None
        self._worker.lines += learned.record_success(self._model, self.body, changes, self._content, now_s)


def by_field(parameter: str, message: str = "", code: str | None = None) -> ProviderError:
    """An error with a field that names the parameter."""
    names = () if code is None else (code,)
    error = by_message(parameter, message)
    return structs.replace(error, code=code, trusted_parameter=parameter, trusted_names=names)


def by_message(parameter: str, message: str) -> ProviderError:
    """An error that names the parameter only in its message."""
    return ProviderError(parameter=parameter, path=parameter, message=message)


def from_body(status: int, body: object) -> ProviderError:
    """The error read from a provider's body, which must be classified as a refused parameter."""
    failure = failure_of_status(status, json.dumps(body).encode(), {}, 0.0)
    assert failure.kind == "parameter", failure.kind
    assert failure.error is not None
    return failure.error


def openai_refusal(message: str, param: str | None = None, code: str | None = None) -> ProviderError:
    return from_body(
        400, {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}
    )
