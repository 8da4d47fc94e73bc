"""A cluster of nats-servers on loopback, each with its own directory."""

from __future__ import annotations

import asyncio
from pathlib import Path

from nats.aio.client import Client as Nats

from penstock.cli.local.nats_server import NatsServer
from penstock.cli.local.ports import PortAllocator

__all__ = ["NatsCluster"]

_START_S = 30.0
_CLUSTER = """
cluster {{
  name: penstock-test
  listen: "127.0.0.1:{port}"
  routes: [{routes}]
}}
"""


class NatsCluster:
    """Nodes that start and are killed together; each can also be killed and started separately."""

    def __init__(self, directory: Path, nodes: int = 3) -> None:
        self._ports = PortAllocator()
        ports = [self._ports.take() for _ in range(nodes)]
        routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports)
        self.nodes: dict[str, NatsServer] = {}
        for number, port in enumerate(ports, 1):
            name = f"n{number}"
            (directory / name).mkdir(parents=True)
            cluster = _CLUSTER.format(port=port, routes=routes)
            self.nodes[name] = NatsServer(directory / name, server_name=name, extra_config=cluster)

    @property
    def url(self) -> str:
        """The addresses of all nodes, separated by commas."""
        return ",".join(node.url for node in self.nodes.values())

    async def start(self) -> None:
        await asyncio.gather(*(node.start(_START_S) for node in self.nodes.values()))

    def kill(self) -> None:
        """Kill all nodes; their stores are no longer needed."""
        for node in self.nodes.values():
            node.kill()

    async def leads(self, nc: Nats, stream: str) -> str:
        """The node that leads `stream` now."""
        info = await nc.jetstream().stream_info(stream)
        assert info.cluster is not None
        assert info.cluster.leader is not None
        return info.cluster.leader

    def holding(self, nc: Nats) -> str:
        """The node to which `nc` is connected."""
        assert nc.connected_url is not None
        return next(
            name for name, node in self.nodes.items() if node.url.endswith(f":{nc.connected_url.port}")
        )
