"""The texts of an answer by channel: content, reasoning, refusal, arguments of each tool call, for each choice.

A delta holds parts of several texts. Each channel is one text that grows, and is filtered on its own; what the filter
returns is put back where it stood. Ids, names, types, signatures and encoded data are passed on unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from services.worker.providers.encoded_data import is_base64, is_data_url
from services.worker.providers.errors.failures import ProviderFailure
from services.worker.providers.raw_json import (
    decode_any,
    encoded,
    fields_of,
)
from services.worker.providers.streams.choices import finish_reason_of
from services.worker.providers.streams.chunks import ChunkDelta

__all__ = ["CONTENT", "AnswerChannels", "AnswerTexts", "Channel", "WholeAnswer"]


class Channel(Struct, frozen=True, eq=False, kw_only=True):
    """One text of an answer. Each is one object, compared by identity."""

    choice: int
    name: str
    """For logs and tests, as `tool_calls.0.function.arguments`."""
    json_text: bool = False
    """The text is JSON text: the arguments of a tool call."""
    complete: bool = False
    """Each text in it is complete, and is not continued by the next: the title of a source, arguments as an object."""


CONTENT: Final = Channel(choice=0, name="content")
"""The text of choice 0, which ChunkDelta.text carries."""

_ENCODED: Final = frozenset(
    (
        *("b64_json", "data", "encrypted_content", "file_data", "obfuscation", "signature"),
        "thought_signature",
    )
)
"""Keys of media and of encrypted data in base64."""
_URLS: Final = frozenset(("file_data", "image_url", "url"))
"""Keys of addresses, which may be `data:` URLs."""
_IDS: Final = frozenset(("call_id", "file_id", "id", "model", "system_fingerprint", "tool_call_id"))
_LABELS: Final = frozenset(
    (
        *(
            "content_filter_result",
            "content_filter_results",
            "error",
            "finish_reason",
            "format",
            "matched_stop",
        ),
        *("media_type", "mime_type", "name", "native_finish_reason", "object", "role", "service_tier"),
        *("status", "stop_reason", "type", "usage"),
    )
)
"""Keys of enumerations, and of objects of them: single words there are no texts of the model, everything else is."""
_REPEATED: Final = ("logprobs", "prompt_logprobs", "token_ids", "prompt_token_ids")
"""Keys of a choice, and of an answer, that repeat its text token by token."""
_WITHOUT_DATA: Final = frozenset(
    ("index", "type", "role", "object", "format", "obfuscation", "finish_reason")
)
"""Keys that alone are no reason to send a delta."""
_ELEMENT_LABELS: Final = ("index", "type", "format")
"""Keys by which a client joins an element of a list with those of earlier deltas."""
_SENT_WHOLE: Final = (
    _ENCODED | _IDS | _LABELS | {"annotations", "citations", "images", "search_results", "sources"}
)
_HOLDING: Final = frozenset((str, dict, list))
"""Types of values that may hold a text."""
_ARGUMENTS: Final = "arguments"
_KEYS: Final = "keys of objects"
"""Name of the channel of keys."""
_DELTA: Final = "delta"
_GROWING: Final = frozenset((_DELTA, "message", "text"))
"""Keys of a choice whose texts go on in later chunks."""

_USUAL_KEYS: Final = frozenset(
    (
        *("arguments", "content", "delta", "finish_reason", "function", "id", "index", "name", "reasoning"),
        *("reasoning_content", "role", "tool_calls", "type"),
    )
)
"""Those of most deltas."""
_MOST_CHANNELS: Final = 1_000
"""In one stream: what each of them holds back has to be looked at whenever another one begins."""
_MOST_TEXTS: Final = 20_000
"""In one answer that is not streamed, or in one choice object."""
_is_word: Final = re.compile(r"[A-Za-z_$./-]{0,64}").fullmatch
_is_id: Final = re.compile(r"[A-Za-z0-9_.:/|=-]{0,128}").fullmatch

_decode_choice: Final = msgspec.json.Decoder(dict[str, Any]).decode

_Path = tuple[str | int, ...]
_Step = str | dict[str, Any]
"""A key, or the labels of an element of a list."""


class _Place(Struct, gc=False):
    """A text in a decoded object: `container[key]`."""

    container: Any
    key: Any
    path: _Path
    complete: bool
    is_key: bool = False
    """The text is the key itself."""

    @property
    def text(self) -> str:
        return str(self.key) if self.is_key else str(self.container[self.key])


class AnswerTexts:
    """A choice object of a stream, and the texts in it."""

    __slots__ = ("_places", "_values", "channels", "choice", "ends", "texts")

    def __init__(self, values: dict[str, Any], places: Sequence[_Place], channels: list[Channel]) -> None:
        self.channels = channels
        self.texts: list[str] = [place.text for place in places]
        """One for each of `channels`."""
        self._values = _without_repeated(values)
        self._places = places
        index, reason = values.get("index"), values.get("finish_reason")
        self.choice = index if isinstance(index, int) else 0
        self.ends = bool(reason) and bool(finish_reason_of(encoded(reason)))
        """The choice has its finish reason here: what its channels hold back has to be sent before."""

    def filled(self, texts: Sequence[str]) -> Raw | None:
        """The object with `texts` in place of its texts; None if there is nothing to send in it."""
        _fill(self._places, texts)
        if not any(texts) and not self.ends and not _carries(self._values):
            return None
        return encoded(self._values)


class AnswerChannels:
    """The channels of one streamed answer, each known from its first text on."""

    def __init__(self) -> None:
        self._channels: dict[tuple[int, _Path], Channel] = {(0, (_DELTA, "content")): CONTENT}
        self._ways: dict[Channel, Sequence[_Step]] = {CONTENT: (_DELTA, "content")}

    def read(self, choice: Raw) -> AnswerTexts:
        """The texts of a choice object of a ChunkDelta. Raises ValueError for a value that is no choice object."""
        try:
            values = _decode_choice(choice)
            places = _places_in_choice(values)
            return AnswerTexts(values, places, [self._channel(values, place) for place in places])
        except RecursionError as error:
            raise ValueError("a choice that is nested too deeply") from error

    def alone(self, channel: Channel, text: str) -> ChunkDelta:
        """A delta that carries this text and nothing else."""
        if channel is CONTENT:
            return ChunkDelta(text)
        choice = {"index": channel.choice, **_along(self._ways[channel], text), "finish_reason": None}
        return ChunkDelta("", (encoded(choice),))

    def _channel(self, values: dict[str, Any], place: _Place) -> Channel:
        index = values.get("index")
        choice = index if isinstance(index, int) else 0
        path = (_KEYS,) if place.is_key else place.path
        channel = self._channels.get((choice, path))
        if channel is None:
            if len(self._channels) == _MOST_CHANNELS:
                raise ProviderFailure("oversized", f"the answer has more than {_MOST_CHANNELS:,} texts")
            channel = self._channels[choice, path] = _new_channel(choice, place)
            if not channel.complete:
                self._ways[channel] = _steps(values, path)
        return channel


class WholeAnswer:
    """A completion that is not streamed, and its texts."""

    def __init__(self, body: bytes) -> None:
        """Raises ValueError for what is not JSON; a value that is no object has no texts."""
        self._body = body
        try:
            self._fields = fields_of(body) or {}
            self._values = {name: decode_any(value) for name, value in self._fields.items()}
            found = list(_places_in_answer(self._values))
        except RecursionError as error:
            raise ValueError("the answer is nested too deeply") from error
        self._places = [place for _, place in found]
        self.channels = [_new_channel(choice, place, complete=True) for choice, place in found]
        self.texts: list[str] = [place.text for place in self._places]
        """One for each of `channels`."""

    def filled(self, texts: Sequence[str]) -> bytes:
        """The body with `texts` in place of its texts, and without log probabilities. Fields without a change keep
        their bytes.
        """
        choices = self._values.get("choices")
        listed = choices if isinstance(choices, list) else []
        if list(texts) == self.texts and not any(map(_has_repeated, (self._values, *listed))):
            return self._body
        others = {name: encoded(value) for name, value in self._values.items() if value is not choices}
        _fill(self._places, texts)
        listed[:] = map(_without_repeated, listed)
        new = {name: encoded(value) for name, value in _without_repeated(self._values).items()}
        kept = {name: self._fields[name] for name, value in new.items() if others.get(name) == value}
        return bytes(encoded({**new, **kept}))


def _places_in_answer(values: dict[str, Any]) -> Iterator[tuple[int, _Place]]:
    """The texts of a whole answer, with the index of their choice."""
    others: list[_Place] = []
    for name, value in values.items():
        if name == "choices" and isinstance(value, list):
            for index, choice in enumerate(value):
                inner: list[_Place] = []
                if isinstance(choice, dict):
                    inner = _places_in_choice(choice)
                else:
                    _add_places(inner, value, index, (name, index), complete=True)
                yield from ((index, place) for place in inner)
        elif name not in _REPEATED:
            _add_places(others, values, name, (name,), complete=True)
    _add_keys(others, values, ())
    yield from ((0, place) for place in others)


def _places_in_choice(values: dict[str, Any]) -> list[_Place]:
    found: list[_Place] = []
    for name, value in values.items():
        if type(value) in _HOLDING and name not in _REPEATED:
            _add_places(found, values, name, (name,), complete=name not in _GROWING)
    _add_keys(found, values, ())
    return found


def _add_places(
    found: list[_Place], container: Any, key: Any, path: _Path, *, complete: bool, label: bool = False
) -> None:
    """Add the texts in `container[key]`, at any depth. `label`: it is in an object of enumerations."""
    value = container[key]
    kind = type(value)  # exact, as it was decoded from JSON
    label = label or key in _LABELS
    if kind is str:
        # Arguments that are empty begin a tool call.
        if (value or key == _ARGUMENTS) and not (_is_data(key, value) or (label and _is_word(value))):
            found.append(_Place(container, key, path, complete))
    elif kind is dict:
        whole = complete or key == _ARGUMENTS
        for name, each in value.items():
            if type(each) in _HOLDING:
                inner_complete = whole or name in _SENT_WHOLE
                _add_places(found, value, name, (*path, name), complete=inner_complete, label=label)
        _add_keys(found, value, path)
    elif kind is list:
        for position, each in enumerate(value):
            inner = *path, _identity(each, position)
            _add_places(found, value, position, inner, complete=complete, label=label)
    if len(found) > _MOST_TEXTS:
        raise ProviderFailure("oversized", f"the answer has more than {_MOST_TEXTS:,} texts")


def _add_keys(found: list[_Place], values: dict[str, Any], path: _Path) -> None:
    """Add the keys of an object that are not mere words. They come after its values, which they lead to."""
    if values.keys() <= _USUAL_KEYS:
        return
    found += (
        _Place(values, name, (*path, _KEYS), complete=True, is_key=True)
        for name in values
        if not (name.isalpha() or _is_word(name))
    )


def _fill(places: Sequence[_Place], texts: Sequence[str]) -> None:
    keys: list[tuple[_Place, str]] = []
    for place, text in zip(places, texts, strict=True):
        if place.is_key:
            keys.append((place, text))
        else:
            place.container[place.key] = text
    for place, text in keys:
        if text != place.key:
            place.container[text] = place.container.pop(place.key)


def _is_data(key: str | int, value: str) -> bool:
    """Whether the value is an id, encoded, or media."""
    if key in _IDS:
        return bool(_is_id(value))
    return (key in _ENCODED and is_base64(value)) or (key in _URLS and is_data_url(value))


def _identity(element: Any, position: int) -> int | str:
    """What an element of a list has in common with those of other deltas that continue it."""
    index = element.get("index") if isinstance(element, dict) else None
    return index if isinstance(index, int | str) else position


def _steps(values: Any, path: _Path) -> list[_Step]:
    """The keys on the way to a text, and the labels of the elements of lists."""
    steps: list[_Step] = []
    for key in path:
        if isinstance(values, list):
            values = next(each for at, each in enumerate(values) if _identity(each, at) == key)
            steps.append(_element_labels(values))
        else:
            values = values[key]
            steps.append(str(key))
    return steps


def _element_labels(element: Any) -> dict[str, Any]:
    """The scalar labels of an element of a list."""
    if not isinstance(element, dict):
        return {}
    return {
        name: element[name] for name in _ELEMENT_LABELS if isinstance(element.get(name), str | int | float)
    }


def _new_channel(choice: int, place: _Place, *, complete: bool = False) -> Channel:
    first = 1 if place.path[0] in _GROWING else 0
    return Channel(
        choice=choice,
        name=".".join(map(str, place.path[first:] or place.path)),
        json_text=place.path[-1] == _ARGUMENTS,
        complete=complete or place.complete,
    )


def _along(steps: Sequence[_Step], text: str) -> dict[str, Any]:
    """An object with the text where the steps lead, and the labels of the elements on the way."""
    value: Any = text
    for step in reversed(steps):
        value = {step: value} if isinstance(step, str) else [_labelled(step, value)]
    return dict(value)


def _labelled(labels: dict[str, Any], value: Any) -> Any:
    return {**labels, **value} if isinstance(value, dict) else value


def _carries(value: Any) -> bool:
    """Whether there is anything to send beside texts, which are empty here, and labels of no use without them."""
    kind = type(value)
    if kind is dict:
        return any(_carries(each) for name, each in value.items() if name not in _WITHOUT_DATA)
    if kind is list:
        return any(map(_carries, value))
    return value is not None and value != ""


def _has_repeated(values: Any) -> bool:
    return isinstance(values, dict) and any(values.get(name) is not None for name in _REPEATED)


def _without_repeated(values: Any) -> Any:
    """The choice without the keys that repeat its text, which are removed in place."""
    if isinstance(values, dict):
        for name in _REPEATED:
            if name in values:
                del values[name]
    return values
