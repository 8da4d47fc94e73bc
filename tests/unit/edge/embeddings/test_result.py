"""K2: vectors in OpenAI's shape."""

from __future__ import annotations

import base64
import json
import struct
import time

import pytest

from penstock.client.embedding import Embeddings
from penstock.contract.reply import Timings, Usage
from services.edge.embeddings.result import embeddings_json


def embeddings(count: int, dimensions: int) -> Embeddings:
    numbers = [(index % 97 - 48) / 97 for index in range(count * dimensions)]
    return Embeddings(
        id="r",
        data=struct.pack(f"<{len(numbers)}f", *numbers),
        count=count,
        dimensions=dimensions,
        space="s",
        model='m"1',
        provider="p",
        usage=Usage(input_tokens=12),
        cost_microusd=0,
        timings=Timings(),
    )


@pytest.mark.parametrize(("count", "dimensions"), [(1, 3), (5, 256), (100, 3_072)])
def test_k2_numbers_and_base64_hold_the_same_vectors(count: int, dimensions: int) -> None:
    found = embeddings(count, dimensions)
    numbers = json.loads(b"".join(embeddings_json(found, "float")))
    encoded = json.loads(b"".join(embeddings_json(found, "base64")))
    assert [entry["index"] for entry in numbers["data"]] == list(range(count))
    packed = [struct.pack(f"<{dimensions}f", *entry["embedding"]) for entry in numbers["data"]]
    assert b"".join(packed) == found.data
    assert [base64.b64decode(entry["embedding"]) for entry in encoded["data"]] == packed
    for answer in (numbers, encoded):
        assert (answer["object"], answer["model"]) == ("list", 'm"1')
        assert {entry["object"] for entry in answer["data"]} == {"embedding"}
        assert answer["usage"] == {"prompt_tokens": 12, "total_tokens": 12}


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_k2_the_most_vectors_are_made_in_parts_that_block_for_a_moment_only(encoding: str) -> None:
    parts, longest_s, size, count = embeddings_json(embeddings(2_048, 3_072), encoding), 0.0, 0, 0  # type: ignore[arg-type]
    while True:
        began_s = time.process_time()
        part = next(parts, None)
        longest_s = max(longest_s, time.process_time() - began_s)
        if part is None:
            break
        size, count = size + len(part), count + 1
    assert count > 90
    assert size > 2_048 * 3_072 * 4
    assert longest_s < 0.1
