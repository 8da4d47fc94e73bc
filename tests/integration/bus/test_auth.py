"""NATS credentials and TLS against a real server, and the error that each wrong one gives."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from penstock import BrokerRefused, BrokerUnreachable, Client, NatsAuth
from penstock.bus.auth import NatsAuthError
from penstock.bus.connection import ConnectionEvents, connect, options
from penstock.runtime.config.problems import ConfigurationRefused
from penstock.runtime.config.settings import load_settings
from penstock.runtime.service import Broker
from tests.harness.nats.binary import require_nats_server
from tests.harness.processes.process import Process
from tests.integration.bus.nats_auth_server import (
    Authority,
    Operator,
    nats_server_with,
    new_seed,
    public_key,
)

Serve = Callable[[str], "AsyncIterator[str]"]


@pytest.fixture
def serve(tmp_path: Path, free_port: Callable[[], int]):
    """Returns `serve`: `async with serve(config) as url` runs a nats-server with that configuration."""
    require_nats_server()

    @asynccontextmanager
    async def started(config: str) -> AsyncIterator[str]:
        async with nats_server_with(config, tmp_path, free_port()) as port:
            yield f"nats://127.0.0.1:{port}"

    return started


async def is_accepted(url: str, auth: NatsAuth) -> None:
    """The client and a service's broker connect and can use the connection."""
    async with await Client.connect(url, auth=auth) as client:
        await client.cancel("some-request")
    broker = Broker([url], auth, **options("service", ConnectionEvents()), logger=None)
    await broker.connect()
    await broker.connection.flush()
    await broker.stop()


async def is_refused(url: str, auth: NatsAuth, because: str) -> None:
    with pytest.raises(BrokerRefused, match=because) as caught:
        await Client.connect(url, auth=auth)
    assert "no NATS server answers" not in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_a_user_and_password_are_accepted(serve, tmp_path: Path):
    (tmp_path / "password").write_text("secret\n")
    async with serve("authorization { user: ada, password: secret }") as url:
        await is_accepted(url, NatsAuth(user="ada", password="secret"))
        await is_accepted(url, NatsAuth(user="ada", password=f"file:{tmp_path / 'password'}"))
        await is_accepted(url.replace("//", "//ada:secret@"), NatsAuth())
        await is_refused(url, NatsAuth(user="ada", password="wrong"), "did not accept the credentials")
        await is_refused(url, NatsAuth(), "credentials")
        await is_refused(url.replace("//", "//ada:secret2@"), NatsAuth(), "credentials")


async def test_a_token_is_accepted(serve):
    async with serve("authorization { token: secret }") as url:
        await is_accepted(url, NatsAuth(token="secret"))
        await is_refused(url, NatsAuth(token="wrong"), "credentials")


async def test_an_nkey_seed_is_accepted(serve, tmp_path: Path):
    right, wrong = new_seed(), new_seed()
    (tmp_path / "right").write_bytes(right + b"\n")
    (tmp_path / "wrong").write_bytes(wrong)
    async with serve(f"authorization {{ users: [ {{ nkey: {public_key(right)} }} ] }}") as url:
        await is_accepted(url, NatsAuth(nkey_seed=str(tmp_path / "right")))
        await is_refused(url, NatsAuth(nkey_seed=str(tmp_path / "wrong")), "credentials")


async def test_a_creds_file_is_accepted(serve, tmp_path: Path):
    operator = Operator()
    (tmp_path / "right").write_text(operator.user_creds())
    (tmp_path / "wrong").write_text(Operator().user_creds())
    async with serve(operator.config) as url:
        await is_accepted(url, NatsAuth(creds=str(tmp_path / "right")))
        await is_refused(url, NatsAuth(creds=str(tmp_path / "wrong")), "credentials")


async def test_an_expired_creds_file_is_read_again(serve, tmp_path: Path):
    operator, creds = Operator(), tmp_path / "user.creds"
    creds.write_text(operator.user_creds(expires_in_s=3))
    connection_events, back = ConnectionEvents(), asyncio.Event()

    async def reconnected() -> None:
        back.set()

    connection_events.add_reconnect_listener(reconnected)
    async with serve(operator.config) as url:
        nc = await connect(url, name="test", events=connection_events, auth=NatsAuth(creds=str(creds)))
        creds.write_text(operator.user_creds())
        async with asyncio.timeout(15):
            await back.wait()
        assert nc.is_connected
        await nc.close()


def tls_config(authority: Authority, host: str | None = None, *, verify: bool = False) -> str:
    cert, key = authority.issue("server", host)
    return f'tls {{ cert_file: "{cert}", key_file: "{key}", ca_file: "{authority.path}", verify: {verify} }}'.lower()


async def test_tls_with_a_private_authority_is_accepted(serve, tmp_path: Path):
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    async with serve(tls_config(authority)) as url:
        await is_accepted(url, NatsAuth(ca=authority.path))
        await is_accepted(url.replace("nats:", "tls:"), NatsAuth(ca=authority.path))
        await is_refused(url, NatsAuth(ca=other.path), "TLS connection.*certificate verify failed")
        await is_refused(url, NatsAuth(), "TLS connection.*certificate verify failed")


async def test_tls_checks_the_name_in_the_certificate(serve, tmp_path: Path):
    authority = Authority(tmp_path)
    async with serve(tls_config(authority, "nats.example")) as url:
        await is_accepted(url, NatsAuth(ca=authority.path, tls_hostname="nats.example"))
        await is_refused(url, NatsAuth(ca=authority.path), "TLS connection.*certificate verify failed")


async def test_tls_with_a_client_certificate_is_accepted(serve, tmp_path: Path):
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    config = tls_config(authority, verify=True)
    cert, key = authority.issue("client")
    wrong_cert, wrong_key = other.issue("stranger")
    async with serve(config) as url:
        await is_accepted(url, NatsAuth(ca=authority.path, cert=cert, key=key))
        because = "TLS connection|client certificate"
        await is_refused(url, NatsAuth(ca=authority.path), because)
        await is_refused(url, NatsAuth(ca=authority.path, cert=wrong_cert, key=wrong_key), because)


async def test_credentials_are_not_sent_to_a_server_without_tls(serve, tmp_path: Path):
    authority = Authority(tmp_path)
    async with serve("authorization { token: secret }") as url:
        await is_refused(url, NatsAuth(token="secret", ca=authority.path), "does not offer it")
        await is_refused(url.replace("nats:", "tls:"), NatsAuth(token="secret"), "does not offer it")


async def test_a_missing_server_is_unreachable_and_not_refused(free_port):
    with pytest.raises(BrokerUnreachable, match="no NATS server answers") as caught:
        await Client.connect(f"nats://127.0.0.1:{free_port()}", auth=NatsAuth(token="secret"))
    assert not isinstance(caught.value, BrokerRefused)


async def test_the_client_reads_the_environment(serve, monkeypatch):
    async with serve("authorization { user: ada, password: secret }") as url:
        monkeypatch.setenv("NATS_URL", url)
        monkeypatch.setenv("NATS_USER", "ada")
        monkeypatch.setenv("NATS_PASSWORD", "secret")
        async with await Client.connect() as client:
            await client.cancel("some-request")
        monkeypatch.setenv("NATS_PASSWORD", "wrong")
        with pytest.raises(BrokerRefused):
            await Client.connect()


async def test_a_service_logs_why_it_is_refused(caplog):
    connection_events = ConnectionEvents()
    with caplog.at_level(logging.WARNING):
        await connection_events.error(Exception("nats: 'Authorization Violation'"))
    assert "the server did not accept the credentials (Authorization Violation)" in caplog.text


@pytest.mark.parametrize(
    ("auth", "problem"),
    [
        (NatsAuth(creds="/nowhere"), "NATS_CREDS /nowhere cannot be read: No such file"),
        (NatsAuth(creds=__file__), "NATS_CREDS .* holds no user JWT and nkey seed"),
        (NatsAuth(nkey_seed=__file__), "NATS_NKEY_SEED .* holds no nkey seed"),
        (NatsAuth(user="ada"), "NATS_PASSWORD is missing"),
        (NatsAuth(password="x"), "NATS_USER is missing"),
        (NatsAuth(token="file:/nowhere"), "NATS_TOKEN /nowhere cannot be read"),
        (NatsAuth(ca="/nowhere"), "NATS_CA /nowhere cannot be used: No such file"),
        (NatsAuth(cert=__file__, key=__file__), "NATS_CERT .* cannot be used"),
        (NatsAuth(key="/nowhere"), "NATS_CERT is missing"),
    ],
)
async def test_a_setting_that_cannot_be_used_is_named(auth: NatsAuth, problem: str):
    with pytest.raises(NatsAuthError, match=problem):
        await Client.connect("nats://127.0.0.1:1", auth=auth)
    env = {f"NATS_{name.upper()}": getattr(auth, name) or "" for name in auth.__struct_fields__}
    with pytest.raises(ConfigurationRefused, match=problem.split(maxsplit=1)[0]):
        load_settings(env)


def test_the_former_name_of_the_credentials_file_is_accepted():
    assert NatsAuth.from_env({"NATS_CREDENTIALS": "a.creds"}) == NatsAuth(creds="a.creds")


def test_no_secret_is_shown():
    shown = repr(NatsAuth(user="ada", password="hunter2", token="t0ken"))
    assert shown == "NatsAuth(user=…, password=…, token=…)"


async def test_a_service_and_the_command_line_use_the_environment(serve, tmp_path: Path):
    """A router over TLS with a client certificate, user and password, and `penstock status` beside it."""
    authority = Authority(tmp_path)
    cert, key = authority.issue("client")
    config = f"""
        {tls_config(authority, verify=True)}
        authorization {{ user: ada, password: secret }}
        jetstream {{ store_dir: "{tmp_path / "store"}" }}
        max_payload: 8MB
    """
    async with serve(config) as url:
        env = {
            "NATS_URL": url.replace("nats:", "tls:"),
            "NATS_USER": "ada",
            "NATS_PASSWORD": "secret",
            "NATS_CA": authority.path,
            "NATS_CERT": cert,
            "NATS_KEY": key,
            "PENSTOCK_CATALOGUE": "simulator",
            "PENSTOCK_SIMULATOR_URL": "http://127.0.0.1:1",
        }
        router = Process("services.router", env=env, log=tmp_path / "router.log")
        await router.start()
        try:
            shown = await command_line("status", env=env)
            assert shown[0] == 0, shown
            assert "router" in shown[1]
            refused = await command_line("status", env={**env, "NATS_PASSWORD": "wrong"})
            assert refused[0] == 1
            assert "did not accept the credentials" in refused[2]
            assert "Traceback" not in refused[2]
            assert await router.terminate() == 0
        finally:
            router.kill()


async def command_line(*arguments: str, env: dict[str, str]) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "penstock.cli", *arguments),
        env={**os.environ, **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    stdout, stderr = await process.communicate()
    return process.returncode, stdout.decode(), stderr.decode()
