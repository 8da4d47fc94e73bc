"""D11: providers over TLS whose certificate is not accepted: what the error says, and what it does to others."""

from __future__ import annotations

import json
import ssl
import time
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from msgspec.structs import replace

from penstock.client.client import Client
from penstock.errors import RequestFailed
from penstock.runtime.config.load import load_catalogue, trusted_authorities
from penstock.runtime.config.printing import catalogue_yaml
from services.worker.providers.errors.failures import ProviderFailure
from services.worker.providers.groq_sdk import GROQ
from services.worker.providers.openai_sdk import OPENAI
from services.worker.providers.sdk import SdkKind, SdkProvider
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.cli_command import run_command
from tests.harness.processes.system import System, shared_system
from tests.harness.providers.scripted_provider import (
    ScriptedProvider,
    head,
    scripted_provider,
    whole,
)
from tests.harness.providers.tls_proxy import Authority, handshakes_only, tls_proxy


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def provider() -> Iterator[ScriptedProvider]:
    with scripted_provider("m") as running:
        running.answer = lambda _: (head(content_type="application/json"), whole("yes"))
        yield running


@pytest.fixture(params=[OPENAI, GROQ], ids=["openai", "groq"])
def kind(request: pytest.FixtureRequest) -> SdkKind:
    sdk: SdkKind = request.param
    return sdk


async def call(
    kind: SdkKind, provider: ScriptedProvider, context: ssl.SSLContext | None, ca_file: Path | None
) -> int:
    """The status of a call to the provider behind a TLS server with this context."""
    async with tls_proxy(context, urlsplit(provider.url).port or 0) as port:
        return await call_port(kind, port, ca_file)


async def call_port(kind: SdkKind, port: int, ca_file: Path | None) -> int:
    trusting = replace(kind, tls=None if ca_file is None else trusted_authorities(str(ca_file)))
    endpoint = SdkProvider("p", trusting, f"https://127.0.0.1:{port}/v1", {"KEY": "sk-secret"})
    try:
        response = await endpoint.chat("KEY", json.dumps({"model": "m"}).encode(), "a.1")
        await response.close()
        return response.status
    finally:
        await endpoint.close()


async def test_a_certificate_of_an_authority_in_the_ca_file_is_accepted(kind, provider, authority):
    assert await call(kind, provider, authority.server(), authority.ca_file) == 200


@pytest.mark.parametrize(
    ("server", "trusted", "text"),
    [
        (lambda authority: authority.server(), False, "ca_file"),
        (lambda authority: authority.server("example.org"), True, "correct its base_url"),
        (lambda authority: authority.server(age_days=11), True, "expired; the provider has to renew it"),
        (lambda _: None, True, "does not speak TLS there"),
    ],
    ids=["unknown authority", "another host", "expired", "plain HTTP"],
)
async def test_a_failed_handshake_says_what_to_do(kind, provider, authority, server, trusted, text):
    with pytest.raises(ProviderFailure, match=text) as caught:
        await call(kind, provider, server(authority), authority.ca_file if trusted else None)
    assert caught.value.kind == "no_tls"
    assert not caught.value.connected


async def test_a_provider_with_tls_1_0_only_is_called_too_old(kind, authority):
    context = authority.server()
    with warnings.catch_warnings(action="ignore"):
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1
    with (
        handshakes_only(context) as port,
        pytest.raises(ProviderFailure, match="no version of TLS that is still accepted") as caught,
    ):
        await call_port(kind, port, authority.ca_file)
    assert caught.value.kind == "no_tls"


def test_a_relative_ca_file_starts_in_the_folder_of_the_catalogue(authority: Authority):
    folder = authority.ca_file.parent.parent
    file = authority.ca_file.relative_to(folder)
    text = _catalogue_with("https://10.0.0.1/v1", ca_file=str(file))
    env = {"PENSTOCK_SIMULATOR_URL": "http://127.0.0.1:1"}
    loaded = load_catalogue(text, source=str(folder / "mine.yaml"), env=env)
    assert loaded.providers["secure"].ca_file == str(authority.ca_file)
    printed = catalogue_yaml(loaded, {})
    assert load_catalogue(printed, source="elsewhere/printed.yaml", env=env).providers == loaded.providers


def _catalogue_with(base_url: str, ca_file: str = "") -> str:
    """A catalogue whose role `fast` has only a model behind TLS, and `chat` another one after it."""
    data = yaml.safe_load(catalogue({"chat": ["m-secure", "m-chat"], "fast": ["m-secure"]}))
    data["providers"]["secure"] = {"base_url": base_url, **({"ca_file": ca_file} if ca_file else {})}
    data["models"]["m-secure"]["provider"] = "secure"
    return yaml.safe_dump(data)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Its worker trusts no authority of this test; the provider is at an address that the test chooses later."""
    with shared_system(
        tmp_path_factory.mktemp("system"), config=_catalogue_with("https://127.0.0.1:${TLS_PORT:-1}/v1")
    ) as running:
        yield running


@pytest.fixture
async def tls_port(system: System, authority: Authority) -> AsyncIterator[int]:
    async with tls_proxy(authority.server(), urlsplit(system.simulator.ready["url"]).port or 0) as port:
        yield port


async def test_a_provider_with_an_unknown_certificate_costs_other_models_nothing(
    system: System, client: Client, authority: Authority, tls_port: int
):
    await system.workers[0].terminate()
    worker = system.new_worker(TLS_PORT=str(tls_port))
    await worker.start()
    assert "name their certificate (PEM) as ca_file" in worker.log.read_text()

    began_s = time.monotonic()
    with pytest.raises(RequestFailed) as caught:
        await client.chat("Is it safe?", role="fast")
    assert time.monotonic() - began_s < 5
    assert caught.value.code == "provider_unavailable"
    assert "ca_file" in str(caught.value)
    asked = await run_command(system, "ask", "--role", "fast", "Is it safe?")
    assert asked.code == 1
    assert "Correct the TLS connection first" in asked.notes
    assert "Try again" not in asked.notes
    for _ in range(5):
        reply = await client.chat("And there?", role="chat")
        assert reply.model == "m-chat"
    assert await worker.terminate() == 0

    system.catalogue.write_text(
        _catalogue_with("https://127.0.0.1:${TLS_PORT:-1}/v1", ca_file=str(authority.ca_file))
    )
    await system.new_worker(TLS_PORT=str(tls_port)).start()
    assert (await client.chat("And now?", role="fast")).model == "m-secure"
