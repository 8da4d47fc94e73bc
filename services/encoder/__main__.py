"""`python -m services.encoder`: read the settings, load the model, serve."""

from __future__ import annotations

import argparse
import os
import sys

from penstock.bus.ids import instance_name
from penstock.runtime.config.problems import ConfigurationRefused
from penstock.runtime.processes.extras import ENCODER, missing_libraries_text
from penstock.runtime.serving.provider_server import listen, port_argument, serve
from services.encoder.server import configured
from services.encoder.settings import load_encoder_settings

_DESCRIPTION = "Serve vectors of texts by a local model. The settings come from the environment."


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="penstock run encoder", description=_DESCRIPTION)
    parser.add_argument(
        "--port", type=port_argument, help="0 for any free port (default: PENSTOCK_ENCODER_PORT)"
    )
    options = parser.parse_args(arguments)
    if missing := missing_libraries_text(ENCODER):
        sys.stderr.write(f"{missing}\n")
        return 2
    try:
        settings = load_encoder_settings(os.environ)
    except ConfigurationRefused as refused:
        sys.stderr.write(f"{refused}\n")
        return 2
    port = settings.port if options.port is None else options.port
    listener = listen("encoder", settings.host, port)
    if listener is None:
        return 2
    os.environ["OPENBLAS_NUM_THREADS"] = str(settings.threads)
    from prometheus_client import CollectorRegistry  # noqa: PLC0415

    from penstock.runtime.telemetry.logs import LogMetrics, configure  # noqa: PLC0415
    from services.encoder.app import build  # noqa: PLC0415 - what prevents a start is reported before the slow imports
    from services.encoder.model import Model  # noqa: PLC0415

    registry = CollectorRegistry()
    configure("encoder", instance_name("encoder"), "warning", LogMetrics(registry))
    app = build(settings, Model(settings.threads).encode, registry)
    serve(configured(app, settings.drain_s), listener, "encoder", is_monitored=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
