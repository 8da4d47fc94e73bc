"""The counting process: answers one question after another, until its input ends.

It is a process of its own because loading a vocabulary takes up to a second without releasing Python's lock, in which
a worker could serve no request.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from typing import Any, BinaryIO, Final

from services.worker.token_counting.messages import LENGTH_BYTES, Counted, ToCount, decode_question, frame
from services.worker.token_counting.tokenizer import Count, input_tokens, output_tokens, vocabulary_of

__all__: list[str] = []

_TOKENIZER: Final = "quicktok"


class _Vocabularies:
    """Loaded when they are needed for the first time."""

    def __init__(self) -> None:
        self._loaded: dict[str, Count] = {}

    def of(self, model: str) -> Count:
        """Raises ImportError, OSError, ValueError or RuntimeError where it cannot be loaded."""
        name = vocabulary_of(model)
        if name not in self._loaded:
            tokenizer: Any = importlib.import_module(_TOKENIZER)
            self._loaded[name] = tokenizer.get_encoding(name).count
        return self._loaded[name]


def _answer(question: ToCount, vocabularies: _Vocabularies) -> Counted:
    try:
        count = vocabularies.of(question.model)
    except (ImportError, OSError, ValueError, RuntimeError) as error:
        return Counted(error=f"{type(error).__name__}: {error}")
    counted_input: int | None = None
    if question.body is not None:
        # The estimate stays for a body that only the provider can read.
        with contextlib.suppress(ValueError, RecursionError):
            counted_input = input_tokens(question.body, count)
    produced = question.produced
    counted_output = None if produced is None else output_tokens(produced.text, produced.choices, count)
    return Counted(counted_input, counted_output)


def _serve(source: BinaryIO, sink: BinaryIO) -> None:
    vocabularies = _Vocabularies()
    while len(head := source.read(LENGTH_BYTES)) == LENGTH_BYTES:
        data = source.read(int.from_bytes(head, "big"))
        sink.write(frame(_answer(decode_question(data), vocabularies)))
        sink.flush()


if __name__ == "__main__":
    _serve(sys.stdin.buffer, sys.stdout.buffer)
