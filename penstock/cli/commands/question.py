"""The request of `ask` and `explain`: the options of the command line, and the OpenAI messages made from them."""

from __future__ import annotations

import base64
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

from msgspec import Struct

from penstock.cli.errors import CommandError
from penstock.contract.names import AUTO, Complexity, Lane, Rescue
from penstock.contract.retrieval.search import Rag

__all__ = ["Question", "data_url", "messages", "read_prompt"]

_SIGNATURE_BYTES: Final = 12
_IMAGE_SIGNATURES: Final = {
    "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "image/jpeg": re.compile(rb"\xff\xd8\xff"),
    "image/gif": re.compile(rb"GIF8[79]a"),
    "image/webp": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
}
"""Media type -> the first bytes of its files."""


class Question(Struct, frozen=True, kw_only=True):
    """The options that `ask` and `explain` share."""

    prompt: str
    role: str = AUTO
    model: str = ""
    """In place of a role; empty: none."""
    complexity: Complexity | None = None
    images: tuple[Path, ...] = ()
    system: str | None = None
    max_tokens: int | None = None
    """None: the role's limit."""
    user: str = ""
    timeout_s: float | None = None
    stream: bool = True
    as_json: bool = False
    lane: Lane = "interactive"
    rescue: Rescue = "restart"
    rag: Rag | None = None
    conversation: str = ""
    embed: bool = False
    """Only for `explain`: the prompt is a text to embed."""

    def messages(self) -> list[dict[str, Any]]:
        """Raises CommandError for an invalid prompt or image."""
        prompt = read_prompt(self.prompt, sys.stdin.buffer)
        return messages(prompt, [data_url(path) for path in self.images], self.system)

    def limits(self) -> dict[str, Any]:
        """The fields of the body that limit the answer."""
        return {} if self.max_tokens is None else {"max_tokens": self.max_tokens}


def read_prompt(text: str, stdin: BinaryIO, what: str = "prompt") -> str:
    """`text`, or all of stdin for `-`. Raises CommandError, which names it as `what`, if it is empty or not UTF-8."""
    try:
        prompt = stdin.read().decode() if text == "-" else text
        prompt.encode()  # an argument that is not UTF-8 contains lone surrogates
    except UnicodeError as error:
        raise CommandError(f"the {what} is not UTF-8 text") from error
    if not prompt.strip():
        raise CommandError(f"the {what} is empty")
    return prompt


def messages(prompt: str, images: Sequence[str] = (), system: str | None = None) -> list[dict[str, Any]]:
    """OpenAI chat messages. `images`: URLs or data URLs."""
    content: str | list[dict[str, Any]] = prompt
    if images:
        parts = [{"type": "image_url", "image_url": {"url": url}} for url in images]
        content = [{"type": "text", "text": prompt}, *parts]
    first = [] if system is None else [{"role": "system", "content": system}]
    return [*first, {"role": "user", "content": content}]


def data_url(path: Path) -> str:
    """The image file as a data URL, its type determined by its first bytes.

    Raises CommandError for a file that is not an image or cannot be read.
    """
    try:
        with path.open("rb") as file:
            beginning = file.read(_SIGNATURE_BYTES)
            kind = next((kind for kind, known in _IMAGE_SIGNATURES.items() if known.match(beginning)), None)
            if kind is None:
                raise CommandError(f"{path} is not an image: use a PNG, JPEG, GIF or WebP file")
            return f"data:{kind};base64,{base64.b64encode(beginning + file.read()).decode()}"
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from error
