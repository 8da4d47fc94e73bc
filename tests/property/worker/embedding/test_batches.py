"""H2: texts are shared out fairly, divided exactly, and refused one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from math import log2
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from services.worker.embedding.bisection import Bisection, Owner
from services.worker.embedding.request import Text
from services.worker.embedding.text_queue import BatchSize, TextQueue
from services.worker.embedding.token_shares import divided

WANTED: Any = cast("Any", object())
ONE = Owner("a", "u")


@given(st.integers(0, 10**12), st.lists(st.integers(0, 10**9), min_size=1, max_size=50))
def test_f2_shares_sum_up_exactly_and_follow_the_weights(total: int, weights: list[int]) -> None:
    parts = divided(total, weights)
    assert sum(parts) == total
    whole = sum(weights) or len(weights)
    for part, weight in zip(parts, weights if sum(weights) else [1] * len(weights), strict=True):
        assert abs(part - total * weight / whole) <= 1 + total / whole * 1e-9


@given(st.integers(1, 300), st.data())
def test_h2_each_text_is_accepted_or_refused_alone(count: int, data: st.DataObject) -> None:
    poisoned = data.draw(st.sets(st.integers(0, count - 1), max_size=min(7, count)))
    bisection = Bisection(range(count), lambda: data.draw(st.floats(0, 0.999)), lambda _: ONE)
    accepted: list[int] = []
    alone: list[int] = []
    calls = 0
    while part := bisection.next_part():
        calls += 1
        if poisoned.isdisjoint(part):
            bisection.accepted(part)
            accepted += part
        else:
            bisection.refused(part)
            if len(part) == 1:
                alone += part
        assert not bisection.given_up()
    assert Counter(accepted + alone) == Counter(range(count))
    assert set(alone) == poisoned
    sparse = len(poisoned) * (log2(count / max(1, len(poisoned))) + 2)
    assert calls <= 3 + 2 * sparse


@given(
    st.integers(9, 2_048),
    st.randoms(use_true_random=False),
    st.sampled_from(
        [
            lambda _: ONE,
            lambda number: Owner("a", str(number)),
            lambda number: Owner(str(number), "u"),
        ]
    ),
)
def test_d3_a_provider_that_refuses_everything_is_left_alone_soon(
    count: int, random: Any, owner: Callable[[int], Owner]
) -> None:
    bisection = Bisection(range(count), random.random, owner)
    calls = 0
    while part := bisection.next_part():
        calls += 1
        bisection.refused(part)
        bisection.given_up()
    assert calls <= 12


@given(st.integers(1, 2_000), st.integers(1, 400), st.integers(1, 20), st.randoms(use_true_random=False))
def test_d3_many_refused_texts_of_one_user_are_few_calls_and_delay_no_other_user(
    poisoned: int, good: int, users: int, random: Any
) -> None:
    owners = [Owner("a", "poisoned")] * poisoned
    owners += [Owner(random.choice("ab"), f"u{random.randrange(users)}") for _ in range(good)]
    random.shuffle(owners)
    bisection = Bisection(range(len(owners)), random.random, owners.__getitem__)
    calls, accepted = 0, 0
    while part := bisection.next_part():
        calls += 1
        if any(owners[number].user == "poisoned" for number in part):
            bisection.refused(part)
        else:
            bisection.accepted(part)
            accepted += len(part)
        assert {owners[number].user for number in bisection.given_up()} <= {"poisoned"}
    assert accepted == good
    assert calls <= 16 + 2 * log2(len(owners))


@given(st.integers(4, 500), st.randoms(use_true_random=False))
def test_d3_a_user_of_whom_every_second_text_is_accepted_is_not_given_up(count: int, random: Any) -> None:
    bisection = Bisection(range(count), random.random, lambda _: ONE)
    calls, accepted = 0, 0
    while part := bisection.next_part():
        calls += 1
        if len(part) == 1 and part[0] % 2:
            bisection.accepted(part)
            accepted += 1
        else:
            bisection.refused(part)
        bisection.given_up()
    assert calls <= 2 * count
    assert accepted == count // 2 or calls <= 11


@given(st.integers(1, 300), st.integers(1, 50), st.integers(0, 300), st.randoms(use_true_random=False))
def test_d3_refused_texts_of_one_user_fail_no_text_of_another(
    poisoned: int, good: int, at: int, random: Any
) -> None:
    texts = ["poisoned"] * poisoned
    texts[at:at] = ["good"] * good
    bisection = Bisection(range(len(texts)), random.random, lambda number: Owner("a", texts[number]))
    accepted: list[int] = []
    while part := bisection.next_part():
        if all(texts[number] == "good" for number in part):
            bisection.accepted(part)
            accepted += part
        else:
            bisection.refused(part)
        assert all(texts[number] == "poisoned" for number in bisection.given_up())
    assert len(accepted) == good


def text(key: str, tokens: int) -> Text:
    return Text(key, key, tokens, requests=[WANTED])


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.lists(st.integers(1, 50), max_size=30)), max_size=8),
    st.integers(1, 20),
    st.integers(1, 120),
)
def test_h2_batches_keep_their_limits_and_lose_nothing(
    arrivals: list[tuple[str, list[int]]], inputs: int, tokens: int
) -> None:
    queue, size, added = TextQueue(), BatchSize(inputs, tokens), []
    for number, (flow, sizes) in enumerate(arrivals):
        texts = [text(f"{flow}{number}.{at}", each) for at, each in enumerate(sizes)]
        if texts:
            queue.add(flow, texts)
        added += texts
    taken: list[Text] = []
    while batch := queue.take(size):
        assert len(batch) <= inputs
        assert len(batch) == 1 or sum(each.tokens for each in batch) <= tokens
        taken += batch
    assert len(queue) == 0
    assert sorted(each.key for each in taken) == sorted(each.key for each in added)
    for flow in "abc":
        own = [each.key for each in taken if each.key.startswith(flow)]
        assert own == [each.key for each in added if each.key.startswith(flow)]


@given(st.integers(1, 3_000), st.integers(2, 2_048))
def test_h2_one_user_with_many_texts_does_not_delay_another(many: int, inputs: int) -> None:
    queue = TextQueue()
    queue.add("many", [text(f"m{number}", 1) for number in range(many)])
    queue.take(BatchSize(inputs, 10**9))
    queue.add("one", [text("single", 1)])
    assert "single" in [each.key for each in queue.take(BatchSize(inputs, 10**9))]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.integers(1, 40))
def test_h2_a_text_that_was_added_twice_is_sent_once(places: list[int], inputs: int) -> None:
    distinct = [text(str(place), 1) for place in range(10)]
    queue = TextQueue()
    queue.add("user", [distinct[place] for place in places])
    taken: list[str] = []
    while batch := queue.take(BatchSize(inputs, 10**9)):
        taken += [each.key for each in batch]
    assert sorted(taken) == sorted({str(place) for place in places})
