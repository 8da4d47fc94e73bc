"""K5: the format of API keys, for any random bytes."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from penstock.bus.masking import holds_api_key, without_api_keys
from penstock.runtime.api_keys.format import digest, make_key, prefix_of

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"


def key_of(prefix: bytes, secret: bytes) -> str:
    return make_key(lambda size: {5: prefix, 32: secret}[size])


keys = st.builds(key_of, st.binary(min_size=5, max_size=5), st.binary(min_size=32, max_size=32))


@given(keys)
def test_k5_a_key_has_its_prefix_in_the_clear_and_a_checksum(key: str):
    assert re.fullmatch(r"psk_[a-z2-7]{8}_[A-Za-z0-9_-]{43}[0-9A-Za-z]{6}", key)
    assert prefix_of(key) == key[4:12]
    assert re.fullmatch(r"[0-9a-f]{64}", digest(key))


@given(keys, st.integers(0, 61), st.sampled_from(ALPHABET))
def test_k5_a_key_with_one_wrong_character_is_recognised_as_mistyped(key: str, at: int, letter: str):
    mistyped = key[:at] + letter + key[at + 1 :]
    assert (prefix_of(mistyped) is None) == (mistyped != key)


@given(keys, st.integers(0, 54))
def test_k5_a_key_with_two_letters_swapped_is_recognised_as_mistyped(key: str, at: int):
    mistyped = key[:at] + key[at + 1] + key[at] + key[at + 2 :]
    assert (prefix_of(mistyped) is None) == (mistyped != key)


@given(keys, st.integers(0, 61))
def test_k5_a_key_that_is_cut_off_is_recognised(key: str, length: int):
    assert prefix_of(key[:length]) is None
    assert prefix_of(key + "a") is None
    assert prefix_of(f"{key}\n") is None


@given(st.text())
def test_k5_other_text_is_not_a_key(text: str):
    assert prefix_of(text) is None


@given(st.text(), keys, st.text())
def test_k5_no_secret_is_left_in_text_with_a_key(before: str, key: str, after: str):
    text = before + key + after
    assert holds_api_key(text)
    masked = without_api_keys(text)
    assert key[13:] not in masked
    assert not holds_api_key(masked)


@given(keys, st.integers(29, 62))
def test_k5_no_secret_is_left_of_a_key_that_was_cut_off(key: str, length: int):
    assert key[13:length] not in without_api_keys(f'the key "{key[:length]}" is wrong')


@given(st.text().filter(lambda text: "psk_" not in text))
def test_k5_text_without_a_key_stays_as_it_is(text: str):
    assert not holds_api_key(text)
    assert without_api_keys(text) == text


def test_k5_two_keys_are_never_alike():
    made = [make_key() for _ in range(1_000)]
    assert len({prefix_of(key) for key in made}) == len({digest(key) for key in made}) == len(made)
