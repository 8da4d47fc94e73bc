"""How uvicorn serves the simulator."""

from __future__ import annotations

from typing import Final

import uvicorn
from starlette.types import ASGIApp

from penstock.runtime.serving.provider_server import KEEP_ALIVE_S
from services.simulator.http.connection import Connection

__all__ = ["configured"]

_SHUTDOWN_S: Final = 3


def configured(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=Connection,
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=_SHUTDOWN_S,
    )
