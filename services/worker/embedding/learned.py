"""What refusals of providers showed of an embedding model: parameters that it does not take, and smaller batches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from msgspec import Struct

from penstock.bus.log_limits import rate_limited_logger
from penstock.contract.retrieval.embeddings import FLOAT_BYTES
from penstock.runtime.config.catalogue import Catalogue
from services.worker.embedding.text_queue import BatchSize
from services.worker.providers.errors.failures import FailureKind, ProviderFailure

__all__ = ["LearnedLimits", "Parameter", "RefusedSizes"]

_log: Final = rate_limited_logger(__name__, by="text")
_KEPT_S: Final = 3_600.0
"""Seconds for which something learned is kept; then the provider is asked again."""
_LARGEST_ANSWER: Final = 8 * 1024 * 1024
"""Bytes of vectors of one call."""
_ABOUT_PARAMETER: Final[tuple[FailureKind, ...]] = ("parameter", "refused", "unclear")
Parameter = Literal["encoding_format", "dimensions"]
_WORDS: Final[dict[Parameter, tuple[str, ...]]] = {
    "encoding_format": ("encoding_format", "encoding format", "base64"),
    "dimensions": ("dimensions", "dimension"),
}


class _Learned(Struct):
    until_s: dict[Parameter, float] = {}
    """Until when each parameter is left out."""
    size: BatchSize | None = None
    size_until_s: float = 0.0


class LearnedLimits:
    """Times are seconds of the loop's clock."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._models: dict[str, _Learned] = {}

    def batch_size(self, chain: Iterable[str], dimensions: int, now_s: float) -> BatchSize:
        """The largest batch that every model of `chain` takes."""
        sizes = [self._of_model(model, now_s) for model in chain]
        by_answer = max(1, _LARGEST_ANSWER // (dimensions * FLOAT_BYTES))
        return BatchSize(min(by_answer, *(each.inputs for each in sizes)), min(each.tokens for each in sizes))

    def leaves_out(self, model: str, parameter: Parameter, now_s: float) -> bool:
        learned = self._models.get(model)
        return learned is not None and now_s < learned.until_s.get(parameter, 0.0)

    def learn_parameter(
        self, model: str, failure: ProviderFailure, sent: Iterable[Parameter], now_s: float
    ) -> bool:
        """Whether the failure is the refusal of a parameter of `sent`: from now on it is left out."""
        if failure.kind not in _ABOUT_PARAMETER:
            return False
        texts = " ".join(failure.texts).lower()
        named = "" if failure.error is None else failure.error.parameter or ""
        for parameter in sent:
            if named == parameter or any(word in texts for word in _WORDS[parameter]):
                self._leave_out(model, parameter, now_s)
                _log.warning("%s refused the parameter %s; it is left out for an hour", model, parameter)
                return True
        return False

    def learn_floats(self, model: str, now_s: float) -> None:
        """The model answered with numbers as text although base64 was requested: nothing is gained by asking."""
        self._leave_out(model, "encoding_format", now_s)

    def learn_size(self, model: str, refused: BatchSize, now_s: float) -> None:
        """The provider refused a batch of this size as too large: halve it, unless a smaller one is known."""
        learned = self._learned(model)
        if (
            learned.size is not None
            and now_s < learned.size_until_s
            and refused.inputs >= 2 * learned.size.inputs
        ):
            return
        learned.size = BatchSize(max(1, refused.inputs // 2), max(1, refused.tokens // 2))
        learned.size_until_s = now_s + _KEPT_S
        _log.warning(
            "%s refused %d texts of about %d tokens as too many; batches are smaller for an hour."
            " max_inputs and max_batch_tokens in the catalogue spare each worker the refusal",
            model,
            refused.inputs,
            refused.tokens,
        )

    def _leave_out(self, model: str, parameter: Parameter, now_s: float) -> None:
        learned = self._learned(model)
        learned.until_s = {**learned.until_s, parameter: now_s + _KEPT_S}

    def _learned(self, model: str) -> _Learned:
        return self._models.setdefault(model, _Learned())

    def _of_model(self, model: str, now_s: float) -> BatchSize:
        embedding = self._catalogue.models[model].embedding
        if embedding is None:
            raise ValueError(f"{model} is not an embedding model")
        learned = self._models.get(model)
        size = BatchSize(embedding.max_inputs, embedding.max_batch_tokens)
        if learned is None or learned.size is None or now_s >= learned.size_until_s:
            return size
        return BatchSize(min(size.inputs, learned.size.inputs), min(size.tokens, learned.size.tokens))


class _Refused(Struct):
    model: str
    size: BatchSize
    missing: set[str]
    """Keys of its texts that were not accepted since."""


class RefusedSizes:
    """Parts of one batch that were refused as too large. A size is learned once every text of a part is accepted in a
    smaller one: otherwise a single text may be the cause, and other batches are not too large.
    """

    def __init__(self, learned: LearnedLimits) -> None:
        self._learned = learned
        self._refused: list[_Refused] = []

    def refused(self, model: str, size: BatchSize, keys: Iterable[str]) -> None:
        self._refused.append(_Refused(model, size, set(keys)))

    def accepted(self, keys: Iterable[str], now_s: float) -> None:
        accepted = set(keys)
        for part in tuple(self._refused):
            part.missing -= accepted
            if not part.missing:
                self._refused.remove(part)
                self._learned.learn_size(part.model, part.size, now_s)
