"""Ids are UUIDv7 (RFC 9562), sort by time and are valid subject tokens."""

from __future__ import annotations

import time
import uuid

from penstock.bus.ids import instance_name, new_id
from penstock.contract.subjects import is_token


def test_an_id_is_a_uuidv7_that_starts_with_the_time():
    before_ms = time.time_ns() // 1_000_000
    made = uuid.UUID(new_id())
    after_ms = time.time_ns() // 1_000_000
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert before_ms <= made.int >> 80 <= after_ms


def test_ids_of_later_milliseconds_sort_later(monkeypatch):
    moments_ms = [0, 1, 999, 1_795_164_000_000, 1_795_164_000_001, 2**48 - 1]
    ids = []
    for moment_ms in moments_ms:
        monkeypatch.setattr(time, "time_ns", lambda moment_ms=moment_ms: moment_ms * 1_000_000)
        ids.append(new_id())
    assert ids == sorted(ids)
    assert [uuid.UUID(each).int >> 80 for each in ids] == moments_ms


def test_ids_of_one_millisecond_differ_in_their_random_bits(monkeypatch):
    monkeypatch.setattr(time, "time_ns", lambda: 1_795_164_000_000_000_000)
    ids = [uuid.UUID(new_id()).int for _ in range(5_000)]
    assert len(set(ids)) == len(ids)
    varying = 0
    for each in ids:
        varying |= each ^ ids[0]
    assert varying.bit_count() == 74


def test_ids_and_instance_names_are_subject_tokens(monkeypatch):
    assert is_token(new_id())
    monkeypatch.setattr("socket.gethostname", lambda: "a.host with * and Ünïcode" * 9)
    names = {instance_name("worker") for _ in range(100)}
    assert len(names) == 100
    assert all(is_token(name) for name in names)


def test_c1_processes_of_one_chosen_name_have_different_names():
    names = {instance_name("worker", "x" * 64) for _ in range(100)} | {
        instance_name("worker", "east") for _ in range(100)
    }
    assert len(names) == 200
    assert all(is_token(name) for name in names)
    assert sum(name.startswith("east-") for name in names) == 100
