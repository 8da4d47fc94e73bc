"""Entry point of `python -m services.simulator`: read the settings and serve."""

from __future__ import annotations

import argparse
import os
import sys

from services.simulator.app import build
from services.simulator.server import run
from services.simulator.settings import SettingsError, load


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m services.simulator", description="A simulated provider.")
    parser.add_argument("--port", type=int, help="0 for any free port (default: SIMULATOR_PORT)")
    arguments = parser.parse_args()
    try:
        settings = load(os.environ)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    port = settings.port if arguments.port is None else arguments.port
    run(build(settings), settings.host, port)
    return 0


if __name__ == "__main__":
    sys.exit(main())
