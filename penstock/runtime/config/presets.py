"""Presets of providers: known settings as data, with their sources (deploy/catalogues/presets/)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import yaml
from msgspec import Struct, field, structs

from penstock.runtime.config.catalogue import Model, ProviderConfig, RateLimitHeaders, SdkName
from penstock.runtime.config.parameter_mapping import SentAs
from penstock.runtime.config.problems import ProblemReport, joined, nearest
from penstock.runtime.config.shipped import shipped_presets

__all__ = [
    "apply_presets",
    "merge_presets",
    "preset_mapping_of_model",
    "preset_mapping_of_provider",
    "read_preset",
]

_PLAIN: Final = ("sdk", "base_url", "api_key_env", "rate_limit_headers", "prompt_cache")
_UNNAMED: Final = "openai"
"""The preset whose families apply to a provider with this SDK and without a preset."""


class _Family(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Models of one provider that accept the same parameters."""

    models: tuple[str, ...]
    """Patterns of the provider's own names, such as `gpt-5-*`."""
    parameter_mapping: dict[str, SentAs]


class _Preset(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The known settings of a provider."""

    sources: tuple[str, ...]
    """Addresses of the pages that document them."""
    checked: dt.date
    """The day on which these pages were read."""
    sdk: SdkName = "openai"
    base_url: str | None = None
    """None: the SDK's own address, unless `base_url_form` is set."""
    base_url_form: str | None = None
    """The form of the address if each provider account has its own."""
    api_key_env: tuple[str, ...] = ()
    stream: dict[str, str] = field(default_factory=dict)
    """Keys of `StreamFormat`."""
    rate_limit_headers: RateLimitHeaders = "none"
    prompt_cache: Literal["automatic", "marked"] = "automatic"
    parameter_mapping: dict[str, SentAs] = field(default_factory=dict)
    families_of: str | None = None
    """Another preset whose families apply here too."""
    families: tuple[_Family, ...] = ()
    """A model has the `parameter_mapping` of all its families; later ones override earlier ones."""


@cache
def read_preset(file: Path) -> _Preset:
    """The preset in `file`. Raises ValueError for an invalid file; presets ship with Penstock."""
    return msgspec.convert(yaml.safe_load(file.read_text(encoding="utf-8")), _Preset, strict=True)


def _preset_of(name: object) -> _Preset | None:
    """The preset of that name; None for an unknown one, and for raw data that is not a name."""
    file = shipped_presets().get(name) if isinstance(name, str) else None
    return None if file is None else read_preset(file)


def merge_presets(data: dict[str, Any], report: ProblemReport) -> dict[str, Any]:
    """The raw data of a catalogue with the keys of presets added to their providers, whose own keys override them."""
    providers = data.get("providers")
    if not isinstance(providers, dict):
        return data
    filled = {name: _filled(entry, joined("providers", name), report) for name, entry in providers.items()}
    return {**data, "providers": filled}


def _filled(provider: object, path: str, report: ProblemReport) -> object:
    if not isinstance(provider, dict) or not isinstance(provider.get("preset"), str):
        return provider
    preset = _preset_of(provider["preset"])
    if preset is None:
        report.add(
            f"{path}.preset",
            "there is no preset of that name",
            nearest(provider["preset"], shipped_presets()),
        )
        return provider
    if preset.base_url_form is not None and provider.get("base_url") is None:
        problem = f"is missing: with the preset {provider['preset']} each provider account has an address of its own"
        report.add(f"{path}.base_url", problem, f"write base_url: {preset.base_url_form}")
    below = {key: value for key in _PLAIN if (value := _plain(getattr(preset, key))) is not None}
    stream = provider.get("stream", {})
    if isinstance(stream, dict):
        below["stream"] = {**preset.stream, **stream}
    return {**below, **provider, **({"stream": below["stream"]} if "stream" in below else {})}


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def apply_presets(
    providers: Mapping[str, ProviderConfig], models: Mapping[str, Model]
) -> tuple[dict[str, ProviderConfig], dict[str, Model]]:
    """The effective providers and models: their own values over those of their presets."""
    return (
        {name: _provider_in_force(provider) for name, provider in providers.items()},
        {key: _model_in_force(key, model, providers[model.provider]) for key, model in models.items()},
    )


def preset_mapping_of_provider(provider: ProviderConfig) -> dict[str, SentAs]:
    """The `parameter_mapping` that a provider's preset gives to all its models."""
    preset = _preset_of(provider.preset)
    return {} if preset is None else preset.parameter_mapping


def preset_mapping_of_model(provider: ProviderConfig, name: str) -> dict[str, SentAs]:
    """The `parameter_mapping` that the preset, its families and the provider give to the model `name`."""
    mapping = dict(preset_mapping_of_provider(provider))
    for family in _families(provider):
        if any(fnmatchcase(name, pattern) for pattern in family.models):
            mapping |= family.parameter_mapping
    return {**mapping, **provider.parameter_mapping}


def _provider_in_force(provider: ProviderConfig) -> ProviderConfig:
    return structs.replace(
        provider,
        rate_limit_headers=provider.rate_limit_headers or provider.sdk,
        parameter_mapping={**preset_mapping_of_provider(provider), **provider.parameter_mapping},
    )


def _model_in_force(key: str, model: Model, provider: ProviderConfig) -> Model:
    mapping = {**preset_mapping_of_model(provider, model.name or key), **model.parameter_mapping}
    return model if mapping == model.parameter_mapping else structs.replace(model, parameter_mapping=mapping)


def _families(provider: ProviderConfig) -> Iterable[_Family]:
    preset = _preset_of(provider.preset or (_UNNAMED if provider.sdk == _UNNAMED else None))
    if preset is None:
        return
    if preset.families_of is not None:
        yield from read_preset(shipped_presets()[preset.families_of]).families
    yield from preset.families
