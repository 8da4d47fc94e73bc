"""Composes the body of a provider request from the application's body, the role's parameters and ceilings, and the
rules of the model.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Raw

from penstock.contract.reply import Adapted
from penstock.runtime.config.catalogue import Parameters, RoleConfig
from services.worker.providers.parameters.adapt import AS_SENT, OUTPUT_LIMITS, BodyAdapter
from services.worker.providers.raw_json import ABSENT, decode_fields, encoded

__all__ = ["compose"]

_PENSTOCK_FIELD: Final = "penstock"
_PENSTOCK_PREFIX: Final = "penstock_"

_PROVIDER_DEFAULTS: Final = {
    "temperature": 1.0,
    "top_p": 1.0,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
}
"""Values of a parameter that is not sent (OpenAI, reference, "Create chat completion"). Ceilings apply to them too."""
_STREAM_OPTIONS: Final = "stream_options"
_EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh")

_NO_PARAMETERS: Final = Parameters()
_TRUE: Final = Raw(b"true")
_FALSE: Final = Raw(b"false")
_USAGE: Final = Raw(b'{"include_usage":true}')
_decode_number: Final = msgspec.json.Decoder(float).decode
_decode_text: Final = msgspec.json.Decoder(str).decode
_encode: Final = msgspec.json.Encoder().encode


def compose(
    body: Raw | bytes,
    *,
    model: str,
    role: RoleConfig,
    adaptation: BodyAdapter = AS_SENT,
    stream: bool,
    shorten: Callable[[dict[str, Raw]], None] | None = None,
) -> tuple[bytes, tuple[Adapted, ...]]:
    """The body of the provider request, and the changes that `adaptation` made.

    Fields keep their values and order, except: `model`, `stream` and `stream_options` are set here; a parameter that is
    absent or null comes from `role.parameters`; a value above `role.ceilings`, or not a number, is lowered to the
    ceiling. Then `shorten` may change the fields, and `adaptation` the parameters that the model does not support.
    Fields named `penstock` or `penstock_...` are not sent.

    Raises msgspec.DecodeError when `body` is not a JSON object.
    """
    fields = decode_fields(body)
    if _PENSTOCK_FIELD in "".join(fields):
        fields = {name: value for name, value in fields.items() if not _is_internal(name)}
    asks_for_usage = _STREAM_OPTIONS in fields
    fields["model"] = encoded(model)
    _set_stream(fields, stream=stream)
    if role.parameters != _NO_PARAMETERS or role.ceilings != _NO_PARAMETERS:
        _set_sampling(fields, role.parameters, role.ceilings)
        _set_effort(fields, role.parameters.reasoning_effort, role.ceilings.reasoning_effort)
        _set_output_limit(fields, role.parameters.max_tokens, role.ceilings.max_tokens)
    if shorten is not None:
        shorten(fields)
    adapted = adaptation.apply(fields) if adaptation is not AS_SENT else ()
    if adapted and not asks_for_usage:
        adapted = tuple(each for each in adapted if each.parameter != _STREAM_OPTIONS)
    return _encode(fields), adapted


def _is_internal(name: str) -> bool:
    return name == _PENSTOCK_FIELD or name.startswith(_PENSTOCK_PREFIX)


def _set_stream(fields: dict[str, Raw], *, stream: bool) -> None:
    fields["stream"] = _TRUE if stream else _FALSE
    if not stream:
        fields.pop(_STREAM_OPTIONS, None)  # providers refuse it without `stream`
        return
    # The usage of the stream replaces the estimated cost.
    if not _is_set(fields, _STREAM_OPTIONS):
        fields[_STREAM_OPTIONS] = _USAGE
        return
    try:
        options = decode_fields(fields[_STREAM_OPTIONS])
    except msgspec.ValidationError:
        options = {}
    options["include_usage"] = _TRUE
    fields[_STREAM_OPTIONS] = encoded(options)


def _set_sampling(fields: dict[str, Raw], parameters: Parameters, ceilings: Parameters) -> None:
    for name, provider_default in _PROVIDER_DEFAULTS.items():
        ceiling: float | None = getattr(ceilings, name)
        if _is_set(fields, name):
            if ceiling is not None and not _is_allowed(fields[name], ceiling):
                fields[name] = encoded(ceiling)
            continue
        default: float | None = getattr(parameters, name)
        if ceiling is not None and (provider_default if default is None else default) > ceiling:
            default = ceiling
        if default is not None:
            fields[name] = encoded(default)


def _set_output_limit(fields: dict[str, Raw], default: int | None, ceiling: int | None) -> None:
    requested = [name for name in OUTPUT_LIMITS if _is_set(fields, name)]
    for name in requested:
        # Some servers interpret -1 as "no limit".
        if ceiling is not None and not _is_allowed(fields[name], ceiling, above=0):
            fields[name] = encoded(ceiling)
    limits = [limit for limit in (default, ceiling) if limit is not None]
    if limits and not requested:
        fields["max_tokens"] = encoded(min(limits))


def _set_effort(fields: dict[str, Raw], default: str | None, ceiling: str | None) -> None:
    name = "reasoning_effort"
    requested = _is_set(fields, name)
    effort = _text(fields[name]) if requested else default
    if ceiling is not None and (requested or effort is not None) and _over(effort, ceiling):
        fields[name] = encoded(ceiling)
    elif not requested and effort is not None:
        fields[name] = encoded(effort)


def _over(effort: str | None, ceiling: str) -> bool:
    if effort not in _EFFORTS or ceiling not in _EFFORTS:
        return effort != ceiling
    return _EFFORTS.index(effort) > _EFFORTS.index(ceiling)


def _is_set(fields: dict[str, Raw], name: str) -> bool:
    return fields.get(name, ABSENT) != ABSENT


def _is_allowed(value: Raw, ceiling: float, above: float = -math.inf) -> bool:
    """Whether the value is a number greater than `above` and not greater than the ceiling."""
    try:
        return above < _decode_number(value) <= ceiling
    except msgspec.DecodeError:
        return False


def _text(value: Raw) -> str | None:
    try:
        return _decode_text(value)
    except msgspec.DecodeError:
        return None
