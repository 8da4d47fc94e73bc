"""Entry point of `python -m services.simulator`: read the settings and serve."""

from __future__ import annotations

import argparse
import os
import sys

from services.simulator.app import build
from services.simulator.server import listen, run
from services.simulator.settings import HIGHEST_PORT, SettingsError, load


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="penstock run simulator", description="A simulated provider.")
    parser.add_argument("--port", type=_port, help="0 for any free port (default: SIMULATOR_PORT)")
    options = parser.parse_args(arguments)
    try:
        settings = load(os.environ)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    port = settings.port if options.port is None else options.port
    try:
        listener = listen(settings.host, port)
    except OSError as error:
        sys.stderr.write(f"the simulator cannot listen on {settings.host}, port {port}: {error.strerror}\n")
        return 2
    run(build(settings), listener)
    return 0


def _port(text: str) -> int:
    if not text.isdecimal() or len(text) > 5 or int(text) > HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: use a number from 0 to {HIGHEST_PORT}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
