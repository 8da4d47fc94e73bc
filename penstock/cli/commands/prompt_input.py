"""What the person asks, as OpenAI messages: a text or stdin, images, a system prompt."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

from penstock.cli.errors import CommandError

__all__ = ["data_url", "messages", "read_prompt"]

_SIGNATURE_BYTES: Final = 12
_IMAGES: Final = {
    "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "image/jpeg": re.compile(rb"\xff\xd8\xff"),
    "image/gif": re.compile(rb"GIF8[79]a"),
    "image/webp": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
}
"""What the files of each type begin with."""


def read_prompt(text: str, stdin: BinaryIO) -> str:
    """`text`, or all of stdin for `-`. CommandError for an empty prompt and for what is not UTF-8."""
    try:
        prompt = stdin.read().decode() if text == "-" else text
        prompt.encode()  # an argument that is not UTF-8 arrives as lone surrogates
    except UnicodeError as error:
        raise CommandError("the prompt is not UTF-8 text") from error
    if not prompt.strip():
        raise CommandError("the prompt is empty")
    return prompt


def messages(prompt: str, images: Sequence[str] = (), system: str | None = None) -> list[dict[str, Any]]:
    """`images` are URLs or data URLs."""
    content: str | list[dict[str, Any]] = prompt
    if images:
        parts = [{"type": "image_url", "image_url": {"url": url}} for url in images]
        content = [{"type": "text", "text": prompt}, *parts]
    first = [] if system is None else [{"role": "system", "content": system}]
    return [*first, {"role": "user", "content": content}]


def data_url(path: Path) -> str:
    """The image in `path`, its type judged by its first bytes. CommandError when it is none or cannot be read."""
    try:
        with path.open("rb") as file:
            beginning = file.read(_SIGNATURE_BYTES)
            kind = next((kind for kind, signature in _IMAGES.items() if signature.match(beginning)), None)
            if kind is None:
                raise CommandError(
                    f"{path} is no image by its first bytes: give a PNG, JPEG, GIF or WebP file"
                )
            return f"data:{kind};base64,{base64.b64encode(beginning + file.read()).decode()}"
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from error
