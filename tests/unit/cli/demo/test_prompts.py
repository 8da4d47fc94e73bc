"""The PNG image of the demo."""

from __future__ import annotations

import zlib

from penstock.cli.demo.prompts import square_png


def test_the_square_is_a_png():
    png = square_png(2, (200, 30, 30))
    header = png.index(b"IHDR")
    data = png.index(b"IDAT")
    length = int.from_bytes(png[data - 4 : data], "big")

    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert png[header + 4 : header + 12] == bytes([0, 0, 0, 2, 0, 0, 0, 2])
    assert zlib.decompress(png[data + 4 : data + 4 + length]) == (b"\0" + bytes([200, 30, 30]) * 2) * 2
