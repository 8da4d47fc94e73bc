"""`python -m services.worker --role coding,chat`: read the settings, run.

Beside `penstock up` the worker finds that system by the file it has written.
"""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial

from penstock.contract.names import Role
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.config.load import read_catalogue
from penstock.runtime.config.problems import ConfigurationRefused
from penstock.runtime.config.settings import load_settings
from penstock.runtime.processes.nats_import import import_nats_without_aiohttp
from penstock.runtime.processes.stop_signals import end_at_once_when_interrupted
from penstock.runtime.runtime_file import DEFAULT_DATA, found_text, named_directory
from services.worker.credentials.keyring import open_keyring
from services.worker.running_local_system import check_simulator, found_environment

_DATA = "where `penstock up` keeps its data: by it the worker finds that system (default: %(default)s)"
_NO_SIMULATOR = "start also where the catalogue expects a simulator and none answers"


def _served_roles(names: str, catalogue: Catalogue) -> tuple[Role, ...]:
    """The requested roles, separated by commas; `all`: every role of the catalogue, without the implicit roles of
    models.

    Raises ValueError for a role that the catalogue does not have.
    """
    known: tuple[Role, ...] = tuple(catalogue.roles)
    requested = [name.strip() for name in names.split(",") if name.strip()]
    if "all" in requested:
        requested = [*known, *(name for name in requested if name != "all")]
    unknown = [name for name in requested if name not in known and name not in catalogue.implicit_roles]
    if unknown or not requested:
        raise ValueError(
            f"the catalogue {catalogue.name} has no role {', '.join(unknown) or repr(names)}; there are: "
            f"{', '.join(known)}, all (PENSTOCK_CATALOGUE chooses the catalogue)"
        )
    return tuple(role for role in catalogue.all_roles if role in requested)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="penstock run worker", description="Answer the requests of one or more roles."
    )
    parser.add_argument("--role", default="all", help="role, several with commas between, or all (default)")
    parser.add_argument("--data", type=named_directory, default=DEFAULT_DATA, metavar="DIR", help=_DATA)
    parser.add_argument("--no-simulator", action="store_true", help=_NO_SIMULATOR)
    options = parser.parse_args(arguments)
    try:
        env = found_environment(os.environ, options.data)
        settings = load_settings(env)
        catalogue = read_catalogue(None, env)
        roles = _served_roles(options.role, catalogue)
        keyring = open_keyring(catalogue, (*roles, *catalogue.implicit_roles_of(roles)), settings, env)
        found = found_text(os.environ, env, options.data)
        if found is not None:
            sys.stderr.write(f"{found}\n")
    except (ConfigurationRefused, ValueError) as refused:
        sys.stderr.write(f"{refused}\n")
        return 2
    import_nats_without_aiohttp()
    from penstock.runtime.service import Shell  # noqa: PLC0415 - an invalid configuration is reported before the slow imports
    from services.worker.app import Worker  # noqa: PLC0415

    shell = Shell("worker", settings)
    check = None if options.no_simulator else partial(check_simulator, catalogue, roles, env, options.data)
    return shell.run(Worker(shell, catalogue, roles, keyring), check=check)


if __name__ == "__main__":
    end_at_once_when_interrupted()
    sys.exit(main())
