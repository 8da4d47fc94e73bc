"""Certificates made for a test, and a TLS server in front of a provider that speaks plain HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from penstock.runtime.aio import cancel_and_wait
from tests.harness.providers.port_proxy import pass_on

__all__ = ["Authority", "handshakes_only", "tls_proxy"]

_DAY: Final = dt.timedelta(days=1)


class Authority:
    """A certificate authority of its own; `ca_file` has its certificate."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority of this test")])
        self._certificate = self._signed(
            self._name, self._key, x509.BasicConstraints(ca=True, path_length=None), dt.timedelta(days=-1)
        )
        self.ca_file = directory / "authority.pem"
        self.ca_file.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def server(self, host: str = "127.0.0.1", *, age_days: int = 1) -> ssl.SSLContext:
        """The context of a server with a certificate for `host` that was signed `age_days` ago, for ten days."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        try:
            address: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            address = x509.DNSName(host)
        signed = self._signed(name, key, x509.SubjectAlternativeName([address]), -age_days * _DAY)
        file = self._directory / f"{host.replace(':', '_')}-{age_days}.pem"
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + signed.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def _signed(
        self,
        name: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        extension: x509.ExtensionType,
        since: dt.timedelta,
    ) -> x509.Certificate:
        begin = dt.datetime.now(dt.UTC) + since
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + 10 * _DAY)
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
            .sign(self._key, hashes.SHA256())
        )


@contextlib.contextmanager
def handshakes_only(context: ssl.SSLContext) -> Iterator[int]:
    """The port of a server that ends each connection after its handshake. In contrast to asyncio's, it sends the alert
    of a handshake that fails.
    """

    def serve() -> None:
        with contextlib.suppress(OSError):  # `listener` is closed
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    context.wrap_socket(connection, server_side=True).close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@contextlib.asynccontextmanager
async def tls_proxy(context: ssl.SSLContext | None, port: int, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """The port of a server on `host` that passes bytes to 127.0.0.1:`port`; `context` None: without TLS.

    At its end it ends its connections, also those in their handshakes, which `asyncio.Server` leaves open.
    """
    loop = asyncio.get_running_loop()
    serving: set[asyncio.Task[None]] = set()

    async def serve(connection: socket.socket) -> None:
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        with contextlib.suppress(OSError):
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, connection, ssl=context)
            try:
                writer = asyncio.StreamWriter(transport, protocol, reader, loop)
                there, back = await asyncio.open_connection("127.0.0.1", port)
                await asyncio.gather(pass_on(reader, back), pass_on(there, writer))
            finally:
                transport.abort()

    async def accept() -> None:
        while True:
            connection, _ = await loop.sock_accept(listener)
            task = asyncio.create_task(serve(connection))
            serving.add(task)
            task.add_done_callback(serving.discard)

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        listener.setblocking(False)
        accepting = asyncio.create_task(accept())
        try:
            yield listener.getsockname()[1]
        finally:
            await cancel_and_wait(accepting, *serving)
            await asyncio.sleep(0)  # in which asyncio closes what was aborted
