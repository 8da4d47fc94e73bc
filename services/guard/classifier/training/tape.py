"""Reverse-mode differentiation over numpy arrays: the operations of the sentence encoder, and the optimizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Adam",
    "Array",
    "Node",
    "add",
    "bias",
    "concatenate",
    "cross_entropy",
    "drop",
    "layer_norm",
    "propagate",
    "relu",
    "times",
    "unit_rows",
    "weighted_sum",
    "windowed",
]

Array = NDArray[Any]
"""Of 32-bit numbers."""
Backward = Callable[[Array], None]


class Node:
    """A value, its gradient once it is propagated, and how the gradient goes on to the values it was made of."""

    __slots__ = ("backward", "gradient", "parents", "value")

    def __init__(self, value: Array, parents: Sequence[Node] = (), backward: Backward | None = None) -> None:
        self.value = value
        self.gradient: Array | None = None
        self.parents = parents
        self.backward = backward

    def receive(self, gradient: Array) -> None:
        self.gradient = gradient if self.gradient is None else self.gradient + gradient


def propagate(result: Node) -> None:
    """Give each value that `result` was made of its gradient."""
    order: list[Node] = []
    seen: set[int] = set()

    def visit(node: Node) -> None:
        if id(node) not in seen:
            seen.add(id(node))
            for parent in node.parents:
                visit(parent)
            order.append(node)

    visit(result)
    result.gradient = np.ones_like(result.value)
    for node in reversed(order):
        if node.backward is not None and node.gradient is not None:
            node.backward(node.gradient)


def times(left: Node, right: Node) -> Node:
    """Matrix product; the left one may have further dimensions in front."""

    def backward(gradient: Array) -> None:
        rows = left.value.reshape(-1, left.value.shape[-1])
        right.receive(rows.T @ gradient.reshape(-1, gradient.shape[-1]))
        if left.parents or left.backward:
            left.receive(gradient @ right.value.T)

    return Node(left.value @ right.value, (left, right), backward)


def bias(left: Node, constants: Node, weight: Array | float = 1.0) -> Node:
    """`left` plus a row of constants, each row with its weight."""

    def backward(gradient: Array) -> None:
        left.receive(gradient)
        constants.receive((gradient * weight).reshape(-1, gradient.shape[-1]).sum(axis=0))

    return Node((left.value + weight * constants.value).astype(np.float32), (left, constants), backward)


def add(left: Node, right: Node) -> Node:
    def backward(gradient: Array) -> None:
        left.receive(gradient)
        right.receive(gradient)

    return Node(left.value + right.value, (left, right), backward)


def relu(inner: Node) -> Node:
    positive = inner.value > 0
    return Node(inner.value * positive, (inner,), lambda gradient: inner.receive(gradient * positive))


def drop(inner: Node, share: float, random: np.random.Generator) -> Node:
    """Dropout."""
    kept = (random.random(inner.value.shape, dtype=np.float32) > share).astype(np.float32) / np.float32(
        1 - share
    )
    return Node(inner.value * kept, (inner,), lambda gradient: inner.receive(gradient * kept))


def layer_norm(inner: Node, gamma: Array, beta: Array, epsilon: float) -> Node:
    centred = inner.value - inner.value.mean(axis=-1, keepdims=True)
    inverse = 1 / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + np.float32(epsilon))
    scaled = centred * inverse

    def backward(gradient: Array) -> None:
        inside = gradient * gamma
        inside -= inside.mean(axis=-1, keepdims=True) + scaled * (inside * scaled).mean(
            axis=-1, keepdims=True
        )
        inner.receive(inverse * inside)

    return Node(scaled * gamma + beta, (inner,), backward)


def windowed(inner: Node, width: int, left: int, mask: Array) -> Node:
    """Each token's row beside those of its neighbours, `left` of them before it; zeros outside the text."""
    texts, tokens, size = inner.value.shape
    padded = np.zeros((texts, tokens + width - 1, size), dtype=np.float32)
    padded[:, left : left + tokens] = inner.value * mask[..., None]

    def backward(gradient: Array) -> None:
        total = np.zeros_like(padded)
        for k in range(width):
            total[:, k : k + tokens] += gradient[:, :, k * size : (k + 1) * size]
        inner.receive(total[:, left : left + tokens] * mask[..., None])

    value = np.concatenate([padded[:, k : k + tokens] for k in range(width)], axis=-1)
    return Node(value, (inner,), backward)


def concatenate(parts: Sequence[Node]) -> Node:
    ends = np.cumsum([part.value.shape[-1] for part in parts])

    def backward(gradient: Array) -> None:
        for part, end in zip(parts, ends, strict=True):
            part.receive(gradient[..., end - part.value.shape[-1] : end])

    return Node(np.concatenate([part.value for part in parts], axis=-1), parts, backward)


def weighted_sum(inner: Node, weights: Array) -> Node:
    """Over the tokens of each text."""
    value = np.einsum("btd,bt->bd", inner.value, weights)
    return Node(value, (inner,), lambda gradient: inner.receive(gradient[:, None, :] * weights[..., None]))


def unit_rows(inner: Node) -> Node:
    """The hyperbolic tangent, each row scaled to length 1."""
    flat = np.tanh(inner.value)
    inverse = 1 / np.sqrt((flat * flat).sum(axis=-1, keepdims=True) + np.float32(1e-9))
    unit = flat * inverse

    def backward(gradient: Array) -> None:
        across = inverse * (gradient - unit * (gradient * unit).sum(axis=-1, keepdims=True))
        inner.receive(across * (1 - flat * flat))

    return Node(unit, (inner,), backward)


def cross_entropy(scores: Node, labels: NDArray[np.int64], smoothing: float) -> Node:
    """The mean over rows, with label smoothing."""
    exponentials = np.exp(scores.value - scores.value.max(axis=1, keepdims=True))
    found = exponentials / exponentials.sum(axis=1, keepdims=True)
    wanted = np.full(found.shape, smoothing / found.shape[1], dtype=np.float32)
    wanted[np.arange(len(labels)), labels] += 1 - smoothing
    loss = np.float32(-(wanted * np.log(found + 1e-9)).sum(axis=1).mean())
    return Node(
        np.asarray(loss),
        (scores,),
        lambda gradient: scores.receive((found - wanted) * (gradient / len(labels))),
    )


class Adam:
    """AdamW that draws each weight to where it began; the means of the weights over the last steps are the result."""

    def __init__(self, weights: Mapping[str, Node], rate_of: Callable[[str], float], decay: float) -> None:
        self._weights, self._rate_of, self._decay = weights, rate_of, decay
        self._began = {name: node.value.copy() for name, node in weights.items()}
        self._first = {name: np.zeros_like(node.value) for name, node in weights.items()}
        self._second = {name: np.zeros_like(node.value) for name, node in weights.items()}
        self.means = {name: node.value.copy() for name, node in weights.items()}
        self._steps = 0

    def step(self, scale: float) -> None:
        self._steps += 1
        kept = min(0.98, (1 + self._steps) / (10 + self._steps))
        for name, node in self._weights.items():
            if node.gradient is None:
                continue
            gradient, node.gradient = node.gradient, None
            first, second = self._first[name], self._second[name]
            first += 0.1 * (gradient - first)
            second += 0.001 * (gradient * gradient - second)
            move = first / (1 - 0.9**self._steps)
            move /= np.sqrt(second / (1 - 0.999**self._steps)) + 1e-8
            move += self._decay * (node.value - self._began[name])
            node.value = node.value - np.float32(self._rate_of(name) * scale) * move.astype(np.float32)
            self.means[name] += np.float32(1 - kept) * (node.value - self.means[name])
