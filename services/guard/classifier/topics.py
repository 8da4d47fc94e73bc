"""The topic of a request whose text the router's rules do not recognise."""

from __future__ import annotations

from typing import Literal, cast

from penstock.contract.guard.checks import Classification
from services.guard.classifier.batching import BatchingEncoder
from services.guard.classifier.head import load_head

__all__ = ["TopicClassifier"]


class TopicClassifier:
    def __init__(self, encoder: BatchingEncoder) -> None:
        self._encoder = encoder
        self._head = load_head("topics")

    async def classify(self, text: str) -> Classification:
        """The most probable topic by the first 400 characters. Raises EncoderOverloaded."""
        (row,) = self._head.probabilities(await self._encoder.encode(text), [text])
        best = int(row.argmax())
        topic = cast("Literal['chat', 'coding', 'logic']", self._head.labels[best])
        return Classification(topic=topic, probability=round(float(row[best]), 4))
