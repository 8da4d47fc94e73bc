"""`penstock config check` and `penstock config print`: validate the configuration, print the effective one."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from penstock.cli.local.provider_checks import missing_key_notes
from penstock.cli.unknown_variables import AskedVariables, unknown_variable_notes
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.config.checks import warnings_of
from penstock.runtime.config.load import locate_catalogue, read_catalogue
from penstock.runtime.config.printing import catalogue_yaml, settings_yaml
from penstock.runtime.config.problems import ConfigurationRefused, Problem
from penstock.runtime.config.secrets import check_secrets_dir, key_dates
from penstock.runtime.config.settings import SOURCE, load_settings
from services.edge.settings import load_edge_settings
from services.encoder.settings import load_encoder_settings
from services.indexer.settings import store_url
from services.simulator.settings import load as load_simulator_settings

__all__ = ["check", "print_effective"]


def check(path: Path | None, env: Mapping[str, str] = os.environ) -> int:
    """Exit code 0 for a valid catalogue and valid settings of all services, 1 with every mistake of both on stderr."""
    asked = AskedVariables(env)
    mistakes = _print_mistakes_of_settings(asked)
    try:
        catalogue = read_catalogue(path, asked)
        _check_named_variables(catalogue, asked)
        missing_keys = missing_key_notes(catalogue, asked)
    except ConfigurationRefused as refused:
        mistakes += _print_problems(refused)
    for note in unknown_variable_notes(asked):
        print(note, file=sys.stderr)
    if mistakes:
        print(f"{mistakes} {'mistake' if mistakes == 1 else 'mistakes'}.", file=sys.stderr)
        return 1
    counts = f"{len(catalogue.providers)}, models: {len(catalogue.models)}, roles: {len(catalogue.roles)}"
    print(f"{locate_catalogue(path, env)}: {catalogue.name} is valid (providers: {counts}).")
    for warning in warnings_of(catalogue):
        print(f"Warning: {warning}", file=sys.stderr)
    for note in missing_keys:
        print(note, file=sys.stderr)
    return 0


def _print_mistakes_of_settings(env: Mapping[str, str]) -> int:
    """The number of mistakes in the variables of all services. One in a variable of several services is shown once."""
    problems: list[Problem] = []
    loads = (_load_process_settings, load_edge_settings, load_encoder_settings, load_simulator_settings)
    for load in loads:
        try:
            load(env)
        except ConfigurationRefused as refused:
            problems += (problem for problem in refused.problems if problem not in problems)
    return _print_problems(ConfigurationRefused(SOURCE, problems)) if problems else 0


def _check_named_variables(catalogue: Catalogue, env: Mapping[str, str]) -> None:
    """Raises ConfigurationRefused with every mistake in the variables that the catalogue names."""
    problems: list[Problem] = []
    try:
        key_dates((key for provider in catalogue.providers.values() for key in provider.api_key_env), env)
    except ConfigurationRefused as refused:
        problems += refused.problems
    try:
        if catalogue.retrieval is not None and env.get(catalogue.retrieval.store.url_env):
            store_url(catalogue.retrieval.store, env)
    except ConfigurationRefused as refused:
        problems += refused.problems
    if problems:
        raise ConfigurationRefused(SOURCE, problems)


def _load_process_settings(env: Mapping[str, str]) -> None:
    check_secrets_dir(load_settings(env).secrets_dir)


def print_effective(path: Path | None, env: Mapping[str, str] = os.environ) -> int:
    """Print the effective configuration with secrets masked; exit codes as in `check`."""
    try:
        settings = load_settings(env)
        catalogue = read_catalogue(path, env)
        file = locate_catalogue(path, env)
    except ConfigurationRefused as refused:
        _print_problems(refused)
        return 1
    commented = "".join(f"# {line}\n" for line in settings_yaml(settings).splitlines())
    print(f"# The process, from the environment:\n{commented}")
    print(f"# The catalogue, from {file}:\n{catalogue_yaml(catalogue, env)}", end="")
    return 0


def _print_problems(refused: ConfigurationRefused) -> int:
    print(refused, file=sys.stderr)
    return len(refused.problems)
