"""`python -m services.worker --role coding,chat`: read the settings, run."""

from __future__ import annotations

import argparse
import os
import sys

from penstock.config.catalogue import Catalogue
from penstock.config.load import read_catalogue
from penstock.config.problems import ConfigurationRefused
from penstock.config.settings import load_settings
from schemas.names import Role
from services.worker.keys.sources import open_keyring


def _chat_roles(asked: str, catalogue: Catalogue) -> tuple[Role, ...]:
    """The roles named, with commas between; `all`: every role of the catalogue that chats.

    Raises ValueError for a role that the catalogue does not have.
    """
    known: tuple[Role, ...] = tuple(role for role in catalogue.roles if role != "embed")
    if asked == "all":
        return known
    wanted = [name.strip() for name in asked.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        raise ValueError(f"no chat role {', '.join(unknown) or asked!r}; there are: {', '.join(known)}, all")
    return tuple(role for role in known if role in wanted)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="worker", description="Answer the requests of one or more roles.")
    parser.add_argument("--role", default="all", help="role, several with commas between, or all (default)")
    asked = parser.parse_args(arguments)
    try:
        settings = load_settings(os.environ)
        catalogue = read_catalogue(None, os.environ)
        roles = _chat_roles(asked.role, catalogue)
        keyring = open_keyring(catalogue, roles, settings, os.environ)
    except (ConfigurationRefused, ValueError) as refused:
        sys.stderr.write(f"{refused}\n")
        return 2
    from penstock.service import Shell  # noqa: PLC0415 - a refused configuration is told without loading the rest
    from services.worker.app import Worker  # noqa: PLC0415

    shell = Shell("worker", settings)
    return shell.run(Worker(shell, catalogue, roles, keyring))


if __name__ == "__main__":
    sys.exit(main())
