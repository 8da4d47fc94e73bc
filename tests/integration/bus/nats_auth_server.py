"""A real nats-server with authentication, and the nkeys, user JWTs and certificates that it accepts."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import ipaddress
import json
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nkeys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from penstock.cli.local.nats_server import find_nats_server


@asynccontextmanager
async def nats_server_with(config: str, directory: Path, port: int) -> AsyncIterator[int]:
    """Run nats-server on `port` with `config` until the block is left."""
    async with reloadable_nats_server(config, directory, port):
        yield port


Reload = Callable[[str], None]


@asynccontextmanager
async def reloadable_nats_server(config: str, directory: Path, port: int) -> AsyncIterator[Reload]:
    """Run nats-server on `port` until the block is left; gives a function that loads another configuration."""
    path = directory / "auth.conf"

    def write(text: str) -> None:
        path.write_text(f'listen: "127.0.0.1:{port}"\n{text}')

    def reload(text: str) -> None:
        write(text)
        process.send_signal(signal.SIGHUP)

    write(config)
    process = subprocess.Popen([find_nats_server(), "-c", path], stderr=subprocess.PIPE)  # noqa: ASYNC220 - returns at once
    try:
        async with asyncio.timeout(10):
            while True:
                assert process.poll() is None, process.stderr and process.stderr.read().decode()
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.02)
                else:
                    writer.close()
                    break
        yield reload
    finally:
        process.kill()
        process.communicate()


def new_seed(prefix: int = nkeys.PREFIX_BYTE_USER) -> bytes:
    return bytes(nkeys.encode_seed(os.urandom(32), prefix))


def public_key(seed: bytes) -> str:
    return str(nkeys.from_seed(bytearray(seed)).public_key.decode())


def _unpadded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed_jwt(issuer: bytes, subject: bytes, claims: dict[str, Any], expiry: int | None = None) -> str:
    """A NATS JWT (version 2) about the key of `subject`, signed by `issuer`."""
    header = _unpadded(json.dumps({"typ": "JWT", "alg": "ed25519-nkey"}).encode())
    body = {
        "jti": os.urandom(8).hex(),
        "iat": 1_700_000_000,
        "iss": public_key(issuer),
        "sub": public_key(subject),
        "name": "test",
        "nats": {"version": 2, **claims},
        **({} if expiry is None else {"exp": expiry}),
    }
    signed = f"{header}.{_unpadded(json.dumps(body).encode())}"
    return f"{signed}.{_unpadded(nkeys.from_seed(bytearray(issuer)).sign(signed.encode()))}"


class Operator:
    """An operator with one NATS account, for a server that resolves the account from memory."""

    def __init__(self) -> None:
        self._operator = new_seed(nkeys.PREFIX_BYTE_OPERATOR)
        self._account = new_seed(nkeys.PREFIX_BYTE_ACCOUNT)

    @property
    def config(self) -> str:
        limits = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1)
        account = signed_jwt(
            self._operator, self._account, {"type": "account", "limits": {**limits, "wildcards": True}}
        )
        operator = signed_jwt(self._operator, self._operator, {"type": "operator"})
        return (
            f"operator: {operator}\nresolver: MEMORY\n"
            f"resolver_preload: {{ {public_key(self._account)}: {account} }}\n"
        )

    def user_creds(self, expires_in_s: float | None = None) -> str:
        """The text of a `.creds` file of a new user of the account."""
        seed = new_seed()
        claims = {"type": "user", "subs": -1, "data": -1, "payload": -1, "pub": {}, "sub": {}}
        expiry = None if expires_in_s is None else int(time.time() + expires_in_s)
        jwt = signed_jwt(self._account, seed, claims, expiry)
        return (
            f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{seed.decode()}\n------END USER NKEY SEED------\n"
        )


class Authority:
    """A certificate authority that writes its own certificate and those it signs as PEM files."""

    def __init__(self, directory: Path, name: str = "ca") -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = self._sign(self._name, self._key, is_authority=True)
        self.path = str(directory / f"{name}.pem")
        Path(self.path).write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, host: str | None = None) -> tuple[str, str]:
        """Paths of a certificate for 127.0.0.1, or for `host`, and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = [x509.DNSName(host)] if host else [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        certificate = self._sign(subject, key, names=names)
        paths = self._directory / f"{name}.pem", self._directory / f"{name}-key.pem"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return str(paths[0]), str(paths[1])

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        *,
        is_authority: bool = False,
        names: list[x509.GeneralName] | None = None,
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=is_authority,
            crl_sign=is_authority,
            encipher_only=False,
            decipher_only=False,
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())
