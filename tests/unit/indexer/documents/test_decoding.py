"""H1: texts in any usual encoding are read; what is not text is refused."""

from __future__ import annotations

import random

import pytest

from services.indexer.documents.decoding import clean, decode
from services.indexer.documents.document import DocumentRefused

RUSSIAN = "Привет, это короткий текст на русском языке о погоде."
TURKISH = "Bu kısa bir Türkçe metindir ve şehirler hakkında bilgi verir."


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("text", ["", "words", RUSSIAN, "日本語 \U0001f600"])
def test_h1_unicode_is_read_exactly(text: str, encoding: str):
    assert decode(text.encode(encoding)) == text


def test_h1_utf_16_of_the_other_byte_order_is_read():
    assert decode(b"\xfe\xff" + RUSSIAN.encode("utf-16-be")) == RUSSIAN


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8_r"),
        ("Отчёт за год", "cp1251"),
        ("Отчёт за год", "koi8_r"),
        (TURKISH, "cp1254"),
        ("Größe über alles, schöne Grüße aus München", "cp1252"),
        ("Zażółć gęślą jaźń, krótki tekst po polsku o pogodzie", "cp1250"),
        ("Αυτό είναι ένα σύντομο κείμενο στα ελληνικά", "cp1253"),
        ("これは日本語の短い文章です。天気について話します。", "shift_jis"),
        ("这是一个关于天气的简短中文文本。我们今天去公园。", "gb18030"),
    ],
)
def test_h1_other_encodings_are_guessed(text: str, encoding: str):
    assert decode(text.encode(encoding)) == text


@pytest.mark.parametrize("encoding", ["cp1251", "shift_jis"])
@pytest.mark.parametrize("before", [0, 100_000])
def test_h1_long_texts_are_guessed_by_a_part_with_other_letters(encoding: str, before: int):
    line = RUSSIAN if encoding == "cp1251" else "これは日本語の短い文章です。"
    text = "plain words\n" * (before // 12) + f"{line}\n" * 5_000
    assert decode(text.encode(encoding)) == text


def test_h1_a_declared_encoding_goes_before_a_guess():
    data = "кот".encode("cp866")
    assert decode(data, "ibm866") == "кот"
    page = f'<meta http-equiv="Content-Type" content="text/html; charset=cp866"><p>{RUSSIAN}'.encode("cp866")
    assert RUSSIAN in decode(page)


@pytest.mark.parametrize("declared", ["rot13", "base64", "no-such-charset", "\x00", "utf-8", "ascii"])
def test_h1_a_wrong_declaration_does_no_harm(declared: str):
    assert decode(RUSSIAN.encode("cp1251"), declared) == RUSSIAN
    assert decode(RUSSIAN.encode(), declared) == RUSSIAN


def test_h1_few_invalid_bytes_do_not_change_the_encoding():
    data = RUSSIAN.encode() + b"\xff" + RUSSIAN.encode() + b"\xd0"
    assert decode(data) == f"{RUSSIAN}\ufffd{RUSSIAN}\ufffd"


def test_h1_data_without_any_text_is_refused():
    data = random.Random(5).randbytes(5_000).replace(b"\x00", b"")
    with pytest.raises(DocumentRefused) as refused:
        clean(decode(data))
    assert refused.value.kind == "binary"


def test_h1_a_byte_order_mark_does_not_make_binary_data_text():
    with pytest.raises(DocumentRefused, match="utf-16"):
        decode(b"\xff\xfe" + b"\x00\xd8" * 1_000)


def test_h1_line_ends_are_the_same_and_control_characters_gone():
    assert clean("a\r\nb\rc\nd\x0ce\tf\x00\x1b\ufeffg\ud800") == "a\nb\nc\nd\ne\tfg\ufffd"


def test_h1_text_of_control_characters_is_refused():
    assert clean("word\x01 " * 3) == "word word word "
    with pytest.raises(DocumentRefused, match="control characters"):
        clean("a\x01" * 100)
