"""The prompts of the demo: every kind of request, in three languages."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Final

from msgspec import Struct

from penstock.contract.names import AUTO, Role

__all__ = ["PROMPTS", "DemoPrompt", "square_png"]


class DemoPrompt(Struct, frozen=True, kw_only=True):
    """One prompt, and the role that the router must choose."""

    title: str
    text: str
    expected: Role
    role: str = AUTO
    images: tuple[str, ...] = ()


def square_png(side: int, colour: tuple[int, int, int]) -> bytes:
    """A square of one colour, `side` pixels wide, eight bits a channel (PNG 1.2)."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    row = b"\0" + bytes(colour) * side
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(row * side))
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _report(chapters: int) -> str:
    """A document of about 40,000 tokens; no two chapters are alike."""
    chapter = (
        "Chapter {n}. In year {n} the river rose by {a} centimetres. The keepers opened gate {b} before the "
        "others, wrote down the hour, the wind and the height of the water, and sent a boat downstream. "
        "There were no injuries, {c} fields were flooded, and the mill stood still for {d} days.\n"
    )
    return "".join(
        chapter.format(n=n, a=20 + n * 7 % 60, b=1 + n % 9, c=n * 5 % 17, d=n * 3 % 11)
        for n in range(chapters)
    )


_RED_SQUARE: Final = f"data:image/png;base64,{base64.b64encode(square_png(32, (200, 30, 30))).decode()}"
PROMPTS: Final = (
    DemoPrompt(title="a question", text="Why do leaves turn red in autumn?", expected="chat"),
    DemoPrompt(title="Turkish", text="İstanbul'da bir günde nereleri gezmeliyim?", expected="chat"),
    DemoPrompt(
        title="code",
        text="Write a Python function that merges two sorted lists, with unit tests.",
        expected="coding",
    ),
    DemoPrompt(
        title="code, Russian",
        text="Напиши функцию на Python, которая проверяет, что строка палиндром.",
        expected="coding",
    ),
    DemoPrompt(
        title="mathematics", text="Solve the equation x^2 - 5x + 6 = 0 and check it.", expected="logic"
    ),
    DemoPrompt(
        title="maths, Turkish",
        text="x^2 - 4x + 3 = 0 denklemini çöz ve köklerin toplamını bul.",
        expected="logic",
    ),
    DemoPrompt(
        title="an image",
        text="What colour is this square?",
        images=(_RED_SQUARE,),
        expected="vision",
    ),
    DemoPrompt(
        title="a long document",
        text=f"Summarise this report in three sentences.\n\n{_report(600)}",
        expected="long_context",
    ),
    DemoPrompt(
        title="failing model",
        text="Write two lines of verse about a water wheel.",
        role="creative",
        expected="creative",
    ),
    DemoPrompt(title="named role", text="Name the capital of Portugal.", role="fast", expected="fast"),
    DemoPrompt(
        title="reasoning",
        text="Three switches, one lamp in another room, one visit: which switch is it?",
        role="reasoning",
        expected="reasoning",
    ),
)
