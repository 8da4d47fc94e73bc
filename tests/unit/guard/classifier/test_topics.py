"""B3: the topic of texts that the router's rules do not recognise."""

from __future__ import annotations

import pytest

from services.guard.classifier.batching import BatchingEncoder
from services.guard.classifier.encoder import Encoder
from services.guard.classifier.topics import TopicClassifier

pytestmark = pytest.mark.real_time


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("my loop never ends and the fan goes crazy", "coding"),
        (
            "Three friends shared a pizza, one ate half of it. How much is left for each of the others?",
            "logic",
        ),
        ("What should I cook for my grandmother's birthday?", "chat"),
        ("У меня форма отправляется два раза, если быстро нажать кнопку", "coding"),
        ("Annemin doğum günü için ne pişirsem?", "chat"),
    ],
)
async def test_b3_unclear_texts_get_a_topic(encoder: Encoder, text: str, topic: str) -> None:
    batches = BatchingEncoder(encoder)
    found = await TopicClassifier(batches).classify(text)
    await batches.close()
    assert found.topic == topic
    assert 1 / 3 <= found.probability <= 1
