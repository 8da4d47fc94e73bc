"""A provider's list of its models (`GET /models`), in the formats that providers use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

__all__ = ["ModelList", "read_model_list"]

_LIST_KEYS: Final = ("data", "models")
_NAME_KEYS: Final = ("id", "name", "model")
_NEXT_PAGE: Final = ("has_more", "nextPageToken", "next_page_token", "next_page", "next")
_PREFIX: Final = "models/"
_LATEST: Final = ":latest"

_decode: Final = msgspec.json.Decoder().decode


class ModelList(Struct, frozen=True):
    """The names of a provider's models. A listed model exists; a model that is not listed may exist too."""

    names: frozenset[str] = frozenset()
    """The names as `_normalize` returns them."""
    complete: bool = True
    """False if the list has further pages."""

    def lists_model(self, name: str) -> bool:
        """Whether the list has the model, under this name or an equivalent one."""
        return _normalize(name) in self.names

    @property
    def is_conclusive(self) -> bool:
        """Whether a missing model is worth a warning. An empty or incomplete list proves nothing."""
        return self.complete and bool(self.names)


def read_model_list(body: bytes | bytearray) -> ModelList:
    """Read `{"data": [{"id": ...}]}` (OpenAI), a JSON list, or `{"models": [{"name": ...}]}`.

    Raises ValueError for any other format.
    """
    value = _decode(body)
    entries = value if isinstance(value, list) else _entries(value)
    if entries is None:
        raise ValueError("the body is neither a list nor an object with a list of models")
    names = frozenset(_normalize(name) for entry in entries if (name := _name(entry)))
    if entries and not names:
        raise ValueError("no entry of the list has a name")
    more = isinstance(value, dict) and any(value.get(key) for key in _NEXT_PAGE)
    return ModelList(names, complete=not more)


def _entries(value: object) -> Sequence[object] | None:
    """The longest list under a known key; null counts as an empty list."""
    found = [value[key] for key in _LIST_KEYS if key in value] if isinstance(value, dict) else []
    lists = [each or () for each in found if each is None or isinstance(each, list)]
    return max(lists, key=len, default=None)


def _name(entry: Any) -> str | None:
    if isinstance(entry, str):
        return entry
    if not isinstance(entry, dict):
        return None
    return next((entry[key] for key in _NAME_KEYS if isinstance(entry.get(key), str)), None)


def _normalize(name: str) -> str:
    """Ollama lists `llama3.2` as `llama3.2:latest`, Gemini `gemini-2.5-flash` as `models/gemini-2.5-flash`."""
    return name.strip().casefold().removeprefix(_PREFIX).removesuffix(_LATEST)
