"""`penstock config check` and `penstock config print`: validate the configuration, print the effective one."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from penstock.cli.local.provider_checks import missing_key_notes
from penstock.cli.local.service_settings import check_each, check_named_variables, check_process_settings
from penstock.cli.unknown_variables import AskedVariables, unknown_variable_notes
from penstock.runtime.config.checks import warnings_of
from penstock.runtime.config.load import locate_catalogue, read_catalogue
from penstock.runtime.config.printing import catalogue_yaml, settings_yaml
from penstock.runtime.config.problems import ConfigurationRefused
from penstock.runtime.config.settings import load_settings
from services.edge.settings import load_edge_settings
from services.encoder.settings import load_encoder_settings
from services.simulator.settings import load as load_simulator_settings

__all__ = ["check", "print_effective"]


def check(path: Path | str | None, env: Mapping[str, str] = os.environ) -> int:
    """Exit code 0 for a valid catalogue and valid settings of all services, 1 with every mistake of both on stderr."""
    asked = AskedVariables(env)
    mistakes = _print_mistakes_of_settings(asked)
    try:
        catalogue = read_catalogue(path, asked)
        check_named_variables(catalogue, asked)
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
    try:
        check_each(
            env, check_process_settings, load_edge_settings, load_encoder_settings, load_simulator_settings
        )
    except ConfigurationRefused as refused:
        return _print_problems(refused)
    return 0


def print_effective(path: Path | str | None, env: Mapping[str, str] = os.environ) -> int:
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
