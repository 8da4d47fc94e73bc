"""H2: which texts of which users the next batch has."""

from __future__ import annotations

from typing import Any, cast

from services.worker.embedding.request import Text
from services.worker.embedding.text_queue import BatchSize, TextQueue

WANTED: Any = cast("Any", object())


def texts(keys: str, tokens: int = 1) -> list[Text]:
    return [Text(key, key, tokens, requests=[WANTED]) for key in keys]


def keys(batch: list[Text]) -> str:
    return "".join(text.key for text in batch)


def test_h2_users_take_turns_however_many_texts_one_of_them_has():
    queue = TextQueue()
    queue.add("ann", texts("abcdefgh"))
    queue.add("bob", texts("xy"))
    assert keys(queue.take(BatchSize(4, 100))) == "axby"
    assert keys(queue.take(BatchSize(4, 100))) == "cdef"
    assert keys(queue.take(BatchSize(4, 100))) == "gh"
    assert len(queue) == 0


def test_h2_a_batch_has_at_most_the_tokens_of_a_call_and_at_least_one_text():
    queue = TextQueue()
    queue.add("ann", texts("abcd", tokens=40))
    assert queue.fills(BatchSize(10, 160))
    assert not queue.fills(BatchSize(10, 161))
    assert keys(queue.take(BatchSize(10, 100))) == "ab"
    assert keys(queue.take(BatchSize(10, 39))) == "c"
    assert keys(queue.take(BatchSize(10, 1_000))) == "d"
    assert not queue.fills(BatchSize(1, 1))


def test_h2_texts_that_are_sent_or_not_wanted_any_more_are_skipped():
    queue = TextQueue()
    waiting = texts("abcd")
    queue.add("ann", waiting)
    queue.add("bob", [waiting[0]])
    waiting[1].requests.clear()
    assert keys(queue.take(BatchSize(10, 100))) == "acd"
    assert all(text.sent for text in waiting if text.requests)
    assert len(queue) == 0
    assert queue.take(BatchSize(10, 100)) == []


def test_h2_a_text_that_waits_twice_for_one_user_is_sent_once():
    queue = TextQueue()
    (text,) = texts("a")
    queue.add("ann", [text, text])
    assert len(queue) == 2
    assert keys(queue.take(BatchSize(10, 100))) == "a"
    assert len(queue) == 0
