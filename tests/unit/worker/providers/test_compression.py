from __future__ import annotations

import gzip
import itertools
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.worker.providers.compression import (
    DecompressionError,
    Decompressor,
    content_encoding,
    decompress,
)

MIB = 1024 * 1024
TEXT = b'data: {"choices":[]}\n\n' * 30


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


COMPRESSED = {
    "gzip": ("gzip", gzip.compress(TEXT)),
    "deflate": ("deflate", zlib.compress(TEXT)),
    "deflate without a header": ("deflate", raw_deflate(TEXT)),
    "several gzip files": ("x-gzip", gzip.compress(TEXT[:50]) + gzip.compress(TEXT[50:])),
    "gzip followed by zeros": ("gzip", gzip.compress(TEXT) + bytes(20)),
    "not compressed, gzip": ("gzip", TEXT),
    "not compressed, deflate": ("deflate", TEXT),
    "one byte": ("gzip", b"{"),
    "empty": ("gzip", b""),
}
SHORT = {"one byte": b"{", "empty": b""}


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def decompress_all(encoding: str, pieces: list[bytes]) -> bytes:
    decompressor = Decompressor(encoding)
    return b"".join([*itertools.chain(*map(decompressor.feed, pieces)), *decompressor.close()])


@pytest.mark.parametrize("what", COMPRESSED)
@given(places=st.lists(st.integers(0, 1000), max_size=8))
def test_the_result_does_not_depend_on_the_split_of_the_bytes(what, places):
    encoding, compressed = COMPRESSED[what]
    assert decompress_all(encoding, cut(compressed, places)) == SHORT.get(what, TEXT)


@pytest.mark.parametrize("what", ["gzip", "deflate", "deflate without a header"])
def test_d6_a_truncated_compressed_body_is_an_error(what):
    encoding, compressed = COMPRESSED[what]
    for length in (len(compressed) // 2, len(compressed) - 1):
        with pytest.raises(DecompressionError, match="is truncated"):
            decompress_all(encoding, [compressed[:length]])


def test_damaged_compressed_data_is_an_error():
    compressed = bytearray(gzip.compress(bytes(range(256)) * 3000))
    compressed[-6] ^= 0xFF
    with pytest.raises(DecompressionError, match="damaged"):
        decompress_all("gzip", [bytes(compressed)])


def test_a_decompression_bomb_gives_small_pieces():
    compressor = zlib.compressobj(9, wbits=31)
    bomb = b"".join(compressor.compress(b" " * MIB) for _ in range(64)) + compressor.flush()
    sizes = [len(piece) for piece in itertools.islice(Decompressor("gzip").feed(bomb), 20)]
    assert len(sizes) == 20
    assert max(sizes) <= 64 * 1024


def test_flushed_data_is_decompressed_immediately():
    compressor, decompressor = zlib.compressobj(wbits=31), Decompressor("gzip")
    for number in range(5):
        event = b"data: %d\n\n" % number
        compressed = compressor.compress(event) + compressor.flush(zlib.Z_SYNC_FLUSH)
        assert b"".join(decompressor.feed(compressed)) == event


@pytest.mark.parametrize(
    ("header", "encoding"),
    [
        *((None, None), ("", None), ("identity", None), ("none", None), ("utf-8", None)),
        *(("GZIP", "gzip"), ("x-gzip", "x-gzip"), (" deflate ", "deflate"), ("identity, gzip", "gzip")),
    ],
)
def test_a_content_encoding_header_names_one_encoding(header, encoding):
    assert content_encoding(header) == encoding


@pytest.mark.parametrize("header", ["br", "zstd", "gzip, gzip", "compress", "rot13"])
def test_an_unsupported_encoding_is_an_error_with_its_name(header):
    with pytest.raises(
        DecompressionError, match=f"content encoding {header}, which was not requested and is not supported"
    ):
        content_encoding(header)


async def test_an_uncompressed_body_passes_unchanged():
    async def pieces():
        yield b"a"
        yield b"b"

    assert [piece async for piece in decompress(pieces(), None)] == [b"a", b"b"]
