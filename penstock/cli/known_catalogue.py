"""The catalogue of the running system, as far as this machine has it."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from penstock.cli.errors import CommandError
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.config.problems import ConfigurationRefused
from penstock.runtime.config.retrieval import retrieval_missing
from penstock.runtime.runtime_file import read_runtime_file

__all__ = ["catalogue_in_use", "check_has_retrieval", "known_catalogue"]


def catalogue_in_use(data: Path) -> Catalogue:
    """The catalogue of the `penstock up` that runs in `data`, else that of the environment.

    Raises ConfigurationRefused where it cannot be read.
    """
    from penstock.runtime.config.load import read_catalogue  # noqa: PLC0415 - needs the server's packages

    running = read_runtime_file(data)
    env = dict(os.environ)
    if running is not None and not env.get("NATS_URL"):
        env |= {
            "PENSTOCK_CATALOGUE": running.catalogue or "",
            "PENSTOCK_SIMULATOR_URL": running.simulator or "",
            "PENSTOCK_ENCODER_URL": running.encoder or "",
        }
    return read_catalogue(None, env)


def known_catalogue(data: Path) -> Catalogue | None:
    """The same; None: this machine has none, or the client alone, which reads no YAML."""
    if find_spec("yaml") is None:
        return None
    try:
        return catalogue_in_use(data)
    except ConfigurationRefused:
        return None


def check_has_retrieval(data: Path, what: str) -> None:
    """Raises CommandError where the catalogue of the `penstock up` that runs in `data` has no section `retrieval`.

    No indexer runs there, and a question would wait for one until its timeout. `what` is not possible then.
    """
    if os.environ.get("NATS_URL") or read_runtime_file(data) is None:
        return  # the catalogue of another system is not known
    catalogue = known_catalogue(data)
    if catalogue is not None and catalogue.retrieval is None:
        raise CommandError(retrieval_missing(what, catalogue.name))
