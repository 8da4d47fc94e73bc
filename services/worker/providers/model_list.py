"""A provider's list of its models (`GET /models`), in the forms in which providers give it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

__all__ = ["ModelList", "read_model_list"]

_LISTS: Final = ("data", "models")
_NAMES: Final = ("id", "name", "model")
_MORE: Final = ("has_more", "nextPageToken", "next_page_token", "next_page", "next")
_PREFIX: Final = "models/"
_LATEST: Final = ":latest"

_decode: Final = msgspec.json.Decoder().decode


class ModelList(Struct, frozen=True):
    """What a provider lists. It proves that a model is there, and not that another is missing."""

    names: frozenset[str] = frozenset()
    """In the form of `_bare`."""
    complete: bool = True
    """False: there are further pages, so that a name may stand on one of those."""

    def lists_model(self, name: str) -> bool:
        """Whether it lists the model, under this name or another form of it."""
        return _bare(name) in self.names

    @property
    def is_conclusive(self) -> bool:
        """Whether a model that is not listed is worth a word. An empty list says nothing."""
        return self.complete and bool(self.names)


def read_model_list(body: bytes | bytearray) -> ModelList:
    """`{"data": [{"id": ...}]}` as OpenAI gives it, a bare list, or `{"models": [{"name": ...}]}`.

    Raises ValueError for anything else.
    """
    value = _decode(body)
    entries = value if isinstance(value, list) else _entries(value)
    if entries is None:
        raise ValueError("it is neither a list nor an object with a list of models")
    names = frozenset(_bare(name) for entry in entries if (name := _name(entry)))
    if entries and not names:
        raise ValueError("none of its entries has a name")
    more = isinstance(value, dict) and any(value.get(key) for key in _MORE)
    return ModelList(names, complete=not more)


def _entries(value: object) -> Sequence[object] | None:
    """The list in an object; a null in its place is an empty one."""
    found = [value[key] for key in _LISTS if key in value] if isinstance(value, dict) else []
    lists = [each or () for each in found if each is None or isinstance(each, list)]
    return max(lists, key=len, default=None)


def _name(entry: Any) -> str | None:
    if isinstance(entry, str):
        return entry
    if not isinstance(entry, dict):
        return None
    return next((entry[key] for key in _NAMES if isinstance(entry.get(key), str)), None)


def _bare(name: str) -> str:
    """Ollama lists `llama3.2` as `llama3.2:latest`, Gemini `gemini-2.5-flash` as `models/gemini-2.5-flash`."""
    return name.strip().casefold().removeprefix(_PREFIX).removesuffix(_LATEST)
