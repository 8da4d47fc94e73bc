"""H2: the vectors that a worker keeps in memory."""

from __future__ import annotations

from services.worker.embedding.vector_memory import VectorMemory


def kept(memory: VectorMemory, *keys: str) -> list[str]:
    return [key for key in keys if memory.get(key) is not None]


def test_h2_the_vectors_used_last_are_kept():
    memory = VectorMemory(limit_bytes=3 * 1_250)
    for key in "abc":
        memory.add(key, bytes(1_000))
    memory.get("a")
    memory.add("d", bytes(1_000))
    assert kept(memory, *"abcd") == ["a", "c", "d"]


def test_h2_a_replaced_vector_counts_once():
    memory = VectorMemory(limit_bytes=2 * 1_250)
    memory.add("a", bytes(1_000))
    for number in range(10):
        memory.add("b", bytes([number]) * 1_000)
    assert kept(memory, "a", "b") == ["a", "b"]
    assert memory.get("b") == b"\t" * 1_000


def test_h2_small_vectors_count_with_their_keys():
    memory = VectorMemory(limit_bytes=1_000)
    for number in range(100):
        memory.add(str(number), b"1234")
    assert kept(memory, *map(str, range(100))) == ["97", "98", "99"]


def test_h2_a_vector_that_is_larger_than_the_memory_is_not_kept():
    memory = VectorMemory(limit_bytes=1_000)
    memory.add("a", bytes(2_000))
    assert memory.get("a") is None
    memory.add("b", bytes(100))
    assert kept(memory, "a", "b") == ["b"]
