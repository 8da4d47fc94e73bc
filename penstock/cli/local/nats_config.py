"""The configuration of the embedded nats-server, as text; with others of its kind it is one of a cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from msgspec import Struct

from penstock.contract.streams import MAX_PAYLOAD_BYTES

__all__ = ["ClusterPlace", "nats_config"]

_TEMPLATE: Final = """\
server_name: {server_name}
listen: "127.0.0.1:{port}"
http: "127.0.0.1:-1"
ports_file_dir: {directory}

max_payload: {max_payload}
# 32 of the largest messages may wait for one reader before the server takes it for dead and cuts it off.
max_pending: 256MB

jetstream {{
  store_dir: {store_dir}
  max_mem: 1GB
  max_file: 10GB
}}
"""


_CLUSTER: Final = """
cluster {{
  name: {name}
  listen: "127.0.0.1:{port}"
  routes: [{routes}]
}}
"""


class ClusterPlace(Struct, frozen=True):
    """One server's place in a cluster on this machine."""

    name: str
    """Of the cluster."""
    port: int
    """Where this server waits for the others."""
    route_ports: tuple[int, ...]
    """Where all of them wait, this one too."""


def nats_config(
    *, directory: Path, store_dir: Path, port: int, server_name: str, cluster: ClusterPlace | None = None
) -> str:
    """A server on loopback with JetStream; port -1 lets the kernel choose, and the ports file says which."""
    alone = _alone(directory=directory, store_dir=store_dir, port=port, server_name=server_name)
    return alone if cluster is None else alone + _clustered(cluster)


def _clustered(cluster: ClusterPlace) -> str:
    return _CLUSTER.format(
        name=json.dumps(cluster.name),
        port=cluster.port,
        routes=", ".join(f'"nats://127.0.0.1:{port}"' for port in cluster.route_ports),
    )


def _alone(*, directory: Path, store_dir: Path, port: int, server_name: str) -> str:
    return _TEMPLATE.format(
        # A JSON string is a string of the server's configuration language too, quotes and blanks included.
        server_name=json.dumps(server_name),
        port=port,
        directory=json.dumps(str(directory)),
        store_dir=json.dumps(str(store_dir)),
        max_payload=MAX_PAYLOAD_BYTES,
    )
