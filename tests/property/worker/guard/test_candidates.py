"""Redacting the pieces of a stream equals redacting the whole text, however it is cut into chunks."""

from __future__ import annotations

import base64
import random
import re
import string
from typing import Final

from hypothesis import example, given
from hypothesis import strategies as st

from penstock.contract.guard.checks import CONTEXT_CHARACTERS
from penstock.runtime.guard.escapes import Unescaped
from services.worker.guard.candidates import WINDOW_CHARACTERS
from tests.harness.guard.streamed_texts import (
    Found,
    chunks_of,
    joined,
    pieces_of,
    redacted,
    redacted_pieces,
    texts_with,
)

_ALNUM: Final = string.ascii_letters + string.digits
_KEY_WORDS: Final = "PRIVATE KEY"
_BEGIN: Final = f"-----BEGIN RSA {_KEY_WORDS}-----"
_END: Final = f"-----END RSA {_KEY_WORDS}-----"
_FORMS: Final = {
    "private_key": rf"{_BEGIN}(?:\s|\\n)[A-Za-z0-9+/=\s\\]*{_END}",
    "jwt": r"(?<![\w-])eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+",
    "github_token": r"(?<![A-Za-z0-9_])ghp_[A-Za-z0-9]{36}(?![A-Za-z0-9_])",
    "password": r"(?<=password = )[^\s\"'`<>]*[0-9][^\s\"'`<>]*(?<=[^\s]{12})",
    "url_password": r"[a-z]+://[a-z]+:[^\s:/@\"'`<>]+@[a-z.]+",
    "email": r"(?<![\w.+-])[A-Za-z0-9._+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}",
    "iban": r"(?<![A-Za-z0-9])[A-Z]{2}[0-9]{2}(?: [A-Z0-9]{4}){3,7}(?: [A-Z0-9]{1,3})?(?![A-Za-z0-9])",
    "payment_card": r"(?<![0-9])(?:[0-9]{4}[ -]?){3}[0-9]{4}(?![0-9])",
    "phone": r"(?<![\w+])\+[0-9]{1,3}[ -]?\(?[0-9]{3}\)?(?:[ -]?[0-9]{2,3}){2,3}(?![0-9])",
    "ip_address": r"(?<![0-9.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9.])",
}  # fmt: skip
_FIND: Final = re.compile("|".join(f"(?P<{kind}>{form})" for kind, form in _FORMS.items()))


def _detect(text: str) -> list[Found]:
    read = Unescaped(text)
    return [
        Found(read.place(each.start()), read.place(each.end()), kind=str(each.lastgroup))
        for each in _FIND.finditer(read.text)
    ]


def _random_text(alphabet: str, size: int) -> st.SearchStrategy[str]:
    return st.randoms(use_true_random=False).map(lambda rng: "".join(rng.choices(alphabet, k=size)))


def _private_key(rng: random.Random, size: int, newline: str) -> str:
    body = base64.b64encode(rng.randbytes(size)).decode()
    lines = [body[start : start + 64] for start in range(0, len(body), 64)]
    return newline.join([_BEGIN, *lines, _END])


def _jwt(rng: random.Random, size: int) -> str:
    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).decode().rstrip("=")

    claims = b'{"sub":"' + base64.b64encode(rng.randbytes(size)) + b'"}'
    return ".".join((part(b'{"alg":"RS256"}'), part(claims), part(rng.randbytes(256))))


_randoms: Final = st.randoms(use_true_random=False)
_VALUES: Final = st.one_of(
    st.sampled_from(
        (
            *("anna.schmidt@mail.example", "x+y@a-b.example.org", "+7 (495) 123-45-67", "+90 532 123 45 67"),
            *("4111 1111 1111 1111", "5500-0000-0000-0004", "4111111111111111", "10.4.0.17", "192.168.1.254"),
            *("DE89 3704 0044 0532 0130 00", "GB29 NWBK 6016 1331 9268 19", "NO93 8601 1117 947"),
            "postgres://" + "app:s3cr3t-x@db.example",
        )
    ),
    _random_text(_ALNUM, 36).map(lambda body: "ghp" + "_" + body),
    _random_text(_ALNUM, 16).map(lambda body: f"password = {body}1"),
    st.builds(_private_key, _randoms, st.sampled_from((120, 300, 600, 1190)), st.sampled_from(("\n", "\\n"))),
    st.builds(_jwt, _randoms, st.sampled_from((20, 200, 700))),
)


@given(st.data())
def test_g3_redacting_the_pieces_equals_redacting_the_whole(data: st.DataObject) -> None:
    text = data.draw(texts_with(_VALUES))
    pieces = pieces_of(data.draw(chunks_of(text)), WINDOW_CHARACTERS)
    assert "".join(each.text for each in pieces) == text
    assert redacted_pieces(pieces, _detect) == redacted(text, _detect)


@given(st.data())
def test_g3_the_pieces_follow_from_the_text_alone(data: st.DataObject) -> None:
    text = data.draw(texts_with(_VALUES))
    expected = joined(pieces_of([text], WINDOW_CHARACTERS))
    assert joined(pieces_of(data.draw(chunks_of(text)), WINDOW_CHARACTERS)) == expected
    assert joined(pieces_of(list(text), WINDOW_CHARACTERS)) == expected
    done = 0
    for piece in expected:
        if piece.suspicious:
            assert text[:done].endswith(piece.context)
            assert len(piece.context) >= min(CONTEXT_CHARACTERS, done)
        done += len(piece.text)


@given(
    st.text(st.sampled_from('0123456789 ()-+/.@:aAzZ_=\n\\"eyJBEGINPRVATKENDundx你'), max_size=40),
    st.integers(1, 60),
)
@example("-----BEGIN PRIVATE KEY-----\n", 40)
@example("eyJaaaaaaaaa.eyJ", 70)
@example("a1" * 20, 40)
@example("1 ", 600)
@example("\\", 40)
@example("\\u0041", 600)
@example("\\ud83d\\\\ude00a1B2", 100)
@example("\\ud83d\\ud83", 100)
@example('\\\\"\\n', 100)
def test_g3_the_pieces_of_repeated_texts_follow_from_the_text_alone(text: str, times: int) -> None:
    whole = text * times
    expected = joined(pieces_of([whole], WINDOW_CHARACTERS))
    assert "".join(each.text for each in expected) == whole
    for size in (1, 7, 511, 513):
        chunks = [whole[start : start + size] for start in range(0, len(whole), size)]
        assert joined(pieces_of(chunks, WINDOW_CHARACTERS)) == expected


@given(st.text(max_size=80))
def test_g3_any_text_comes_out_as_it_went_in(text: str) -> None:
    assert "".join(each.text for each in pieces_of(list(text), WINDOW_CHARACTERS)) == text
