"""The body a provider is sent: the application's own, with the role's parameters and ceilings, as a model takes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Raw

from penstock.contract.reply import Adapted
from penstock.runtime.config.catalogue import Parameters, RoleConfig
from services.worker.providers.parameters.adapt import AS_SENT, Adapts

__all__ = ["compose"]

_PENSTOCK_FIELDS: Final = ("penstock", "penstock_")
"""A field of exactly the first name, or beginning with the second, is ours and no provider's business."""

# What a silent request gets (OpenAI, reference, "Create chat completion"): silence may not pass a ceiling.
_PROVIDER_DEFAULTS: Final = {
    "temperature": 1.0,
    "top_p": 1.0,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
}
_STREAM_OPTIONS: Final = "stream_options"
_OUTPUT_LIMITS: Final = ("max_tokens", "max_completion_tokens")
_EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh")

_NULL: Final = Raw(b"null")
_TRUE: Final = Raw(b"true")
_FALSE: Final = Raw(b"false")
_USAGE: Final = Raw(b'{"include_usage":true}')
_decode_fields: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_number: Final = msgspec.json.Decoder(float).decode
_decode_text: Final = msgspec.json.Decoder(str).decode
_encode: Final = msgspec.json.Encoder().encode


def compose(
    body: Raw | bytes,
    *,
    model: str,
    role: RoleConfig,
    adaptation: Adapts = AS_SENT,
    stream: bool,
    shorten: Callable[[dict[str, Raw]], None] | None = None,
) -> tuple[bytes, tuple[Adapted, ...]]:
    """The provider's request body, and which of its parameters the model does not take as they were sent.

    Every field of `body` stays as it is and where it is, except: `model`, `stream` and `stream_options` are
    ours; what the request leaves out, or sends as null, comes from `role.parameters`; what is over
    `role.ceilings` is lowered to it; what is no number does not pass a ceiling. Then `shorten` may change the
    fields, and `adaptation` what the model does not take.

    Raises msgspec.DecodeError when `body` is not a JSON object.
    """
    fields = {name: value for name, value in _decode_fields(body).items() if not _is_penstocks(name)}
    asks_for_usage = _STREAM_OPTIONS in fields
    fields["model"] = _raw(model)
    _set_stream(fields, stream=stream)
    _cap_sampling(fields, role.ceilings)
    _add_sampling(fields, role.parameters, role.ceilings)
    _set_effort(fields, role.parameters.reasoning_effort, role.ceilings.reasoning_effort)
    _set_output_limit(fields, role.parameters.max_tokens, role.ceilings.max_tokens)
    if shorten is not None:
        shorten(fields)
    adapted = adaptation.apply(fields) if adaptation is not AS_SENT else ()
    if adapted and not asks_for_usage:
        adapted = tuple(each for each in adapted if each.parameter != _STREAM_OPTIONS)
    return _encode(fields), adapted


def _is_penstocks(name: str) -> bool:
    return name == _PENSTOCK_FIELDS[0] or name.startswith(_PENSTOCK_FIELDS[1])


def _set_stream(fields: dict[str, Raw], *, stream: bool) -> None:
    fields["stream"] = _TRUE if stream else _FALSE
    if not stream:
        fields.pop(_STREAM_OPTIONS, None)  # refused by providers where nothing streams
        return
    # Without the usage of the stream there is nothing to settle the hold with.
    if not _says(fields, _STREAM_OPTIONS):
        fields[_STREAM_OPTIONS] = _USAGE
        return
    try:
        options = _decode_fields(fields[_STREAM_OPTIONS])
    except msgspec.ValidationError:
        options = {}
    options["include_usage"] = _TRUE
    fields[_STREAM_OPTIONS] = _raw(options)


def _cap_sampling(fields: dict[str, Raw], ceilings: Parameters) -> None:
    for name in _PROVIDER_DEFAULTS:
        ceiling: float | None = getattr(ceilings, name)
        if ceiling is not None and _says(fields, name):
            asked = _number(fields[name])
            if asked is None or asked > ceiling:
                fields[name] = _raw(ceiling)


def _add_sampling(fields: dict[str, Raw], parameters: Parameters, ceilings: Parameters) -> None:
    for name, provider_default in _PROVIDER_DEFAULTS.items():
        if _says(fields, name):
            continue
        default: float | None = getattr(parameters, name)
        ceiling: float | None = getattr(ceilings, name)
        if ceiling is not None and (provider_default if default is None else default) > ceiling:
            default = ceiling
        if default is not None:
            fields[name] = _raw(default)


def _set_output_limit(fields: dict[str, Raw], default: int | None, ceiling: int | None) -> None:
    asked_names = [name for name in _OUTPUT_LIMITS if _says(fields, name)]
    for name in asked_names:
        asked = _number(fields[name])
        # Some servers read -1 as "no limit".
        if ceiling is not None and (asked is None or asked > ceiling or asked <= 0):
            fields[name] = _raw(ceiling)
    if asked_names:
        return
    limit = _least(default, ceiling)
    if limit is not None:
        fields[_OUTPUT_LIMITS[0]] = _raw(limit)


def _set_effort(fields: dict[str, Raw], default: str | None, ceiling: str | None) -> None:
    name = "reasoning_effort"
    says = _says(fields, name)
    effort = _text(fields[name]) if says else default
    if ceiling is not None and (says or effort is not None) and _over(effort, ceiling):
        fields[name] = _raw(ceiling)
    elif not says and effort is not None:
        fields[name] = _raw(effort)


def _over(effort: str | None, ceiling: str) -> bool:
    if effort not in _EFFORTS or ceiling not in _EFFORTS:
        return effort != ceiling
    return _EFFORTS.index(effort) > _EFFORTS.index(ceiling)


def _says(fields: dict[str, Raw], name: str) -> bool:
    return fields.get(name, _NULL) != _NULL


def _least(*values: int | None) -> int | None:
    return min((value for value in values if value is not None), default=None)


def _number(value: Raw) -> float | None:
    try:
        return _decode_number(value)
    except msgspec.DecodeError:
        return None


def _text(value: Raw) -> str | None:
    try:
        return _decode_text(value)
    except msgspec.DecodeError:
        return None


def _raw(value: object) -> Raw:
    return Raw(_encode(value))
