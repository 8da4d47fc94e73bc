"""Loads the catalogue from its YAML file and reports every mistake together (K6)."""

from __future__ import annotations

import difflib
import ssl
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from msgspec import UNSET, structs

from penstock.runtime.config.budgets.amounts import read_budgets
from penstock.runtime.config.catalogue import Catalogue, ProviderConfig
from penstock.runtime.config.checks import Draft, check
from penstock.runtime.config.document import read_document
from penstock.runtime.config.guard import read_guard
from penstock.runtime.config.parameter_mapping import check_mapping_values
from penstock.runtime.config.presets import apply_presets, merge_presets
from penstock.runtime.config.problems import ConfigurationRefused, Problem, ProblemReport, joined, nearest
from penstock.runtime.config.retrieval import read_retrieval
from penstock.runtime.config.shipped import default_catalogue, shipped_catalogues
from penstock.runtime.config.shorthand import read_prices, unfold
from penstock.runtime.config.structure import build
from penstock.runtime.config.unknown_keys import RENAMED_KEYS, report_unknown_key, sections_with
from penstock.runtime.struct_fields import fields_of

__all__ = ["load_catalogue", "locate_catalogue", "read_catalogue", "trusted_authorities"]


def read_catalogue(path: Path | str | None, env: Mapping[str, str]) -> Catalogue:
    """The catalogue at `path` (see `locate_catalogue`); raises ConfigurationRefused and nothing else."""
    file = locate_catalogue(path, env)
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        problem = Problem(problem=f"cannot be read: {reason}", fix="check the path and its permissions")
        raise ConfigurationRefused(str(file), [problem]) from error
    except UnicodeDecodeError as error:
        problem = Problem(problem="is not UTF-8 text", fix="give a YAML file, saved as UTF-8")
        raise ConfigurationRefused(str(file), [problem]) from error
    except ValueError as error:  # a NUL byte in the path
        problem = Problem(problem=f"is not a path: {error}", fix="check how the path is spelled")
        raise ConfigurationRefused(str(file), [problem]) from error
    return load_catalogue(text, source=str(file), env=env)


def locate_catalogue(path: Path | str | None, env: Mapping[str, str]) -> Path:
    """The file for a path, for the bare name of a shipped catalogue (`groq`), or for None.

    None means PENSTOCK_CATALOGUE, else the catalogue whose API key is set, else the simulator's.
    """
    named = default_catalogue(env) if path is None else str(path)
    if "/" in named or named.endswith((".yaml", ".yml")):
        return Path(named)
    shipped = shipped_catalogues()
    if named not in shipped:
        problem = Problem(
            problem="there is no shipped catalogue of that name",
            fix=f"{nearest(named, shipped)}; a file of your own is named by its path, ./{named}.yaml",
        )
        raise ConfigurationRefused(named, [problem])
    return shipped[named]


def load_catalogue(text: str, *, source: str, env: Mapping[str, str]) -> Catalogue:
    """The catalogue in `text`; errors name it `source`.

    Raises ConfigurationRefused and nothing else.
    """
    document = read_document(text, source=source, env=env)
    report = ProblemReport(document)
    data = document.data
    if not isinstance(data, dict):
        report.hide_values("")
        report.add("", "is not a catalogue", "begin with name:, providers:, models: and roles:", quote=False)
        raise ConfigurationRefused(source, report.problems)
    data = _as_meant(data, report)
    check_mapping_values(data, report)
    for read in (unfold, read_prices, read_budgets, read_guard, read_retrieval, merge_presets):
        data = read(data, report)
    parts = _parts(data, report)
    draft = _draft(data, parts)
    check(draft, report)
    _check_ca_files(draft.providers, source, report)
    if report.problems:
        raise ConfigurationRefused(source, report.problems)
    parts["providers"], parts["models"] = apply_presets(parts["providers"], parts["models"])
    parts["providers"] = {name: _with_whole_path(each, source) for name, each in parts["providers"].items()}
    return Catalogue(**parts)


def trusted_authorities(ca_file: str) -> ssl.SSLContext:
    """A context that trusts only the certificates in this PEM file.

    Raises ValueError with the reason where the file cannot be used.
    """
    file = Path(ca_file)
    try:
        # OpenSSL would wait for a pipe, and names no reason for a directory.
        if file.exists() and not file.is_file():
            raise ValueError("is not a file")
        return ssl.create_default_context(cafile=file)
    except ssl.SSLError as error:
        raise ValueError("holds no certificate in PEM format") from error
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise ValueError(f"cannot be read: {reason}") from error


def _with_whole_path(provider: ProviderConfig, source: str) -> ProviderConfig:
    """The provider with the path of its `ca_file` from the root."""
    if provider.ca_file is None:
        return provider
    return structs.replace(provider, ca_file=_whole_path(provider.ca_file, source))


def _whole_path(ca_file: str, source: str) -> str:
    """The path from the root; a relative one starts in the folder of the catalogue."""
    return str((Path(source).parent / ca_file).absolute())


def _check_ca_files(providers: Mapping[str, ProviderConfig], source: str, report: ProblemReport) -> None:
    """Report the files that cannot be used, of the values that could be read."""
    for name, provider in providers.items():
        if not isinstance(provider.ca_file, str) or not provider.ca_file:
            continue
        file = _whole_path(provider.ca_file, source)
        try:
            trusted_authorities(file)
        except ValueError as error:
            path = joined("providers", name, "ca_file")
            # The address may come from a variable, whose value is not for an error.
            shown = "the file" if report.is_interpolated(path) else file
            report.add(path, f"{shown} {error}", "name a PEM file with the certificate of the authority")


def _as_meant(data: dict[str, Any], report: ProblemReport) -> dict[str, Any]:
    """Report each misspelled section, and read it under the name that was meant. Otherwise mistakes inside it would
    stay hidden.
    """
    meant: dict[str, Any] = {}
    for key, value in data.items():
        section = _meant_section(key, data.keys() | meant.keys())
        if section is not None:
            report_unknown_key(report, "", key, Catalogue, [section])
            report.relocate_below(section, key)
        meant[section or key] = value
    return meant


def _meant_section(key: str, taken: Collection[str]) -> str | None:
    """The section that `key` misspells, which is not one of the `taken` ones; None: `key` is right, or like none."""
    sections = [field.name for field in fields_of(Catalogue)]
    if key in sections or key in RENAMED_KEYS[Catalogue] or sections_with(key):
        return None
    close = difflib.get_close_matches(key, [each for each in sections if each not in taken], n=1)
    return close[0] if close else None


def _parts(data: dict[str, Any], report: ProblemReport) -> dict[str, Any]:
    """Build each section separately, so that a mistake in one does not hide those in others."""
    fields = {field.name: field for field in fields_of(Catalogue)}
    for key in data.keys() - fields.keys():
        report_unknown_key(report, "", key, Catalogue, fields)
    parts: dict[str, Any] = {}
    for name, field in fields.items():
        if name in data:
            parts[name] = build(field.type, data[name], name, report)
        elif field.required:
            report.add(name, "is missing", f"add {name}: to the file")
    return parts


def _draft(data: dict[str, Any], parts: dict[str, Any]) -> Draft:
    def names(section: str) -> Collection[str] | None:
        return data[section].keys() if isinstance(data.get(section), dict) else None

    def built(section: str) -> dict[str, Any]:
        made = parts.get(section)
        return made if isinstance(made, dict) else {}

    return Draft(
        provider_names=names("providers"),
        model_names=names("models"),
        role_names=names("roles"),
        providers=built("providers"),
        models=built("models"),
        roles=built("roles"),
        degradation=parts.get("degradation", UNSET),
        quota_warning=parts.get("quota_warning", UNSET),
        every_account=parts.get("every_account", UNSET),
        accounts=built("accounts"),
        budgets=parts.get("budgets"),
        guard=parts.get("guard"),
        retrieval=parts.get("retrieval"),
    )
