"""A6 over the real system: several keys, refused keys, and keys that are rotated under load."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nats
import pytest
import yaml

from penstock.bus.direct_get import read_all
from penstock.client.client import Client
from penstock.contract.codec import encode
from penstock.contract.events import CredentialAged, CredentialAvailabilityChanged, CredentialRotated
from penstock.contract.presence import CredentialStatus
from penstock.contract.streams import BUCKETS, STREAMS
from penstock.runtime.heartbeat import read_presence
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.process import Process
from tests.harness.processes.system import System, running_system
from tests.harness.providers.scripted_provider import chunk, head, scripted_provider
from tests.harness.records.stored_events import stored_events
from tests.harness.requests.replies import ReceivedReply, ask
from tests.harness.suite.examples import cases
from tests.harness.suite.waiting import until

OLD, NEW, OTHER = "sk-the-old-key-0001", "sk-the-new-key-0002", "sk-another-key-0003"
COOLDOWN_S = 6.0
"""Longer than the requests that are sent meanwhile take on a busy machine."""


def config(
    *names: str, model: dict[str, Any] | None = None, provider: dict[str, Any] | None = None, **more
) -> str:
    made = yaml.safe_load(catalogue({"chat": ("m-chat",)}, models={"m-chat": model or {}}))
    made["providers"]["simulator"] |= {"api_key_env": list(names), **(provider or {})}
    return yaml.safe_dump({**made, **more})


async def used(system: System) -> dict[str, int]:
    """Number of calls by key, as counted by the simulator."""
    counted = (await system.sim("GET", "counts"))["keys"]
    digests = {hashlib.sha256(key.encode()).hexdigest()[:12]: key for key in (OLD, NEW, OTHER)}
    return {digests[digest]: number for digest, number in counted.items()}


async def credentials(system: System) -> dict[str, CredentialStatus]:
    nc = await nats.connect(system.nats.url)
    try:
        return {
            each.credential: each for presence in await read_presence(nc) for each in presence.credentials
        }
    finally:
        await nc.close()


@pytest.mark.parametrize(
    ("group", "share", "quota"),
    cases(
        [
            (group, share, quota)
            for group, share in [(None, 6), ("our-organisation", 3)]
            for quota in ("local", "shared")
        ],
        long=[(None, 6, "local"), ("our-organisation", 3, "shared")],
    ),
)
async def test_a6_c1_two_keys_double_the_quota_unless_they_share_a_group(
    tmp_path: Path, group: str | None, share: int, quota: str
) -> None:
    limit = {"requests_per_minute": 6}
    env = {
        "A_KEY": OLD,
        "B_KEY": NEW,
        "PENSTOCK_QUOTA": quota,
        "SIMULATOR_LIMITS": '{"m-chat": {"requests_per_minute": 6}}',
    }
    text = config("A_KEY", "B_KEY", model={"limits": limit}, provider={"quota_group": group})
    async with (
        running_system(tmp_path, "chat", config=text, env=env) as system,
        await system.client() as client,
    ):
        received = await asyncio.gather(
            *(ask(client, f"Question {n}", role="chat", timeout_s=2) for n in range(20))
        )
        counts = (await system.sim("GET", "counts"))["models"]["m-chat"]

        assert sum(each.code is None for each in received) == 2 * share
        assert {each.code for each in received} <= {None, "deadline_exceeded", "overloaded"}
        assert (counts["attempts"], counts["ok"], counts["errors"]) == (2 * share, 2 * share, {})
        assert await used(system) == {OLD: share, NEW: share}, "the calls are spread evenly"


async def test_d10_a_provider_without_a_key_is_reported_in_the_status(tmp_path: Path) -> None:
    async with running_system(tmp_path, "chat", config=config("A_KEY"), env={"A_KEY": ""}) as system:
        nc = await nats.connect(system.nats.url)
        try:

            async def shown() -> bool:
                return {
                    each.providers_without_key for each in await read_presence(nc) if each.service == "worker"
                } == {("simulator",)}

            await until(shown)
        finally:
            await nc.close()


async def test_a6_a_refused_key_is_excluded_and_used_again_once_accepted(tmp_path: Path) -> None:
    env = {"A_KEY": OLD, "B_KEY": OTHER}
    text = config("A_KEY", "B_KEY", credential_cooldown_s=COOLDOWN_S)
    async with (
        running_system(tmp_path, "chat", config=text, env=env) as system,
        await system.client() as client,
    ):
        await system.sim("POST", "reset")
        await system.sim("PUT", "keys", {"accepted": [OTHER]})
        began_s = time.monotonic()

        received = [await ask(client, f"Question {n}", role="chat") for n in range(12)]

        assert {each.code for each in received} == {None}, "the other key answers at once"
        assert time.monotonic() - began_s < COOLDOWN_S
        assert await used(system) == {OLD: 1, OTHER: 12}
        assert sum(len(each.models) == 2 for each in received) == 1
        assert 'penstock_credential_refused{credential="A_KEY",model="m-chat"} 1.0' in await system.metrics()
        assert "the credential A_KEY is refused for m-chat: 401" in system.workers[0].log.read_text()

        async def shown() -> bool:
            return (await credentials(system))["A_KEY"].refused_for == ("m-chat",)

        await until(shown)

        # The provider accepts the key again: it is tried after its exclusion, and then used as before.
        await system.sim("PUT", "keys", {"accepted": [OLD, OTHER]})

        async def used_again() -> bool:
            await ask(client, "Accepted?", role="chat")
            return (await used(system))[OLD] >= 3

        await until(used_again)
        assert time.monotonic() - began_s >= COOLDOWN_S

        async def announced() -> bool:
            events = await stored_events(system, CredentialAvailabilityChanged)
            return [(each.credential, each.usable) for each in events] == [("A_KEY", False), ("A_KEY", True)]

        await until(announced)
        assert 'penstock_credential_refused{credential="A_KEY",model="m-chat"} 0.0' in await system.metrics()


async def test_a6_if_every_key_is_refused_the_request_fails_and_keys_stay_in_use(
    tmp_path: Path,
) -> None:
    env = {"A_KEY": OLD, "B_KEY": OTHER}
    text = config("A_KEY", "B_KEY")
    async with (
        running_system(tmp_path, "chat", config=text, env=env) as system,
        await system.client() as client,
    ):
        await system.sim("PUT", "keys", {"accepted": [NEW]})
        received = await ask(client, "Refused?", role="chat")
        assert received.code == "provider_credentials"
        assert len(received.models) == 2, "each key was tried"
        await system.sim("PUT", "keys", {"accepted": []})
        assert (await ask(client, "Now?", role="chat")).code is None, (
            "a key is tried at once, not after a minute"
        )


class Mounted:
    """A directory of secrets as mounted by Kubernetes: symbolic links through `..data`, replaced atomically."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._version = 0

    def put(self, **keys: str) -> None:
        self._version += 1
        data = self.directory / f"..{self._version}"
        data.mkdir(parents=True)
        for name, key in keys.items():
            (data / name).write_text(key + "\n")
            if not (self.directory / name).is_symlink():
                (self.directory / name).symlink_to(f"..data/{name}")
        (self.directory / "..data_tmp").symlink_to(data.name)
        (self.directory / "..data_tmp").rename(self.directory / "..data")


@contextlib.asynccontextmanager
async def load(client: Client) -> AsyncIterator[list[ReceivedReply]]:
    """Eight concurrent streams until the end of the context; yields the list of received replies."""
    received: list[ReceivedReply] = []
    running = True

    async def requesting(number: int) -> None:
        while running:
            received.append(await ask(client, f"Question {number} {len(received)}", role="chat"))

    async with asyncio.TaskGroup() as group:
        for number in range(8):
            group.create_task(requesting(number))
        yield received
        running = False


async def rotated(system: System, times: int = 1) -> bool:
    return len(await stored_events(system, CredentialRotated)) == times


@pytest.mark.parametrize(
    "provider",
    [{}, {"sdk": "groq", "base_url": "${PENSTOCK_SIMULATOR_URL}/openai/v1"}],
    ids=["openai", "groq"],
)
async def test_a6_a_key_is_rotated_under_load_without_a_failed_request(
    tmp_path: Path, provider: dict[str, str]
) -> None:
    mounted = Mounted(tmp_path / "secrets")
    mounted.put(SOME_KEY=OLD, OTHER_KEY=OTHER)
    env = {
        "SOME_KEY": "sk-of-the-environment-9",
        "PENSTOCK_SECRETS_DIR": str(mounted.directory),
        "PENSTOCK_SECRETS_POLL_S": "0.2",
        "PENSTOCK_LOG_LEVEL": "debug",
        "SIMULATOR_API_KEYS": f"{OLD}",
        "SIMULATOR_TOKENS_PER_SECOND": "400",
    }
    text = config("SOME_KEY", provider=provider)
    async with (
        running_system(tmp_path, "chat", config=text, env=env) as system,
        await system.client() as client,
    ):
        async with load(client) as received:
            await until(lambda: more_than(received, 30))
            await system.sim("PUT", "keys", {"accepted": [OLD, NEW]})
            mounted.put(SOME_KEY=NEW, OTHER_KEY=OTHER)
            await until(lambda: rotated(system))
            before = len(received)
            # Requests that began with the old key have ended, because eight run at any time.
            await until(lambda: more_than(received, before + 16))
            with_old = (await used(system))[OLD]
            await system.sim("PUT", "keys", {"accepted": [NEW]})
            await until(lambda: more_than(received, before + 60))

        keys = await used(system)
        counts = (await system.sim("GET", "counts"))["models"]["m-chat"]
        assert {each.code for each in received} == {None}
        assert all(len(each.models) == 1 for each in received), "no request was sent twice"
        assert keys[OLD] == with_old > 0, "the old key is no longer used"
        assert keys[NEW] > 60
        assert set(keys) == {OLD, NEW}
        assert counts["errors"] == {}
        await assert_not_written(system, OLD, NEW, "sk-of-the-environment-9")


async def assert_not_written(system: System, *keys: str) -> None:
    """The keys are in no log, event, presence entry or metric."""
    nc = await nats.connect(system.nats.url)
    try:
        presence = [encode(each).decode() for each in await read_presence(nc)]
    finally:
        await nc.close()
    events = [encode(each).decode() for each in await stored_events(system, object)]
    logs = [path.read_text() for path in system.directory.glob("*.log")]
    exported = await system.metrics()
    texts = (*presence, *events, *logs, exported)
    assert len(presence) == 2
    assert any("credential_rotated" in event for event in events)
    assert any("has a new key" in log for log in logs)
    assert 'penstock_credential_rotations_total{credential="SOME_KEY"} 1.0' in exported
    for key in keys:
        assert not [text for text in texts if key in text], "a key was written"


async def more_than(received: list[ReceivedReply], number: int) -> bool:
    return len(received) > number


async def test_a6_a_key_file_may_come_late_and_is_read_on_sighup(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    env = {"PENSTOCK_SECRETS_DIR": str(secrets), "PENSTOCK_SECRETS_POLL_S": "3600"}
    text = config("SOME_KEY")
    async with (
        running_system(tmp_path, "chat", config=text, env=env) as system,
        await system.client() as client,
    ):
        worker = system.workers[0]
        await system.sim("PUT", "keys", {"accepted": [NEW]})
        missing = await ask(client, "Without a key?", role="chat")
        assert missing.code == "provider_credentials"
        assert "no credential is set for m-chat" in missing.failed.error.message
        assert (await system.sim("GET", "counts"))["total_attempts"] == 0

        (secrets / "SOME_KEY").write_text(NEW)
        worker.signal(signal.SIGHUP)
        await until(lambda: rotated(system))
        assert (await ask(client, "With one?", role="chat")).code is None

        for invalidate, why in (
            (lambda: (secrets / "SOME_KEY").write_text(""), "is empty"),
            ((secrets / "SOME_KEY").unlink, "is gone"),
        ):
            invalidate()
            worker.signal(signal.SIGHUP)

            async def shown(why: str = why) -> bool:
                return (await credentials(system))["SOME_KEY"].file_problem == why

            await until(shown)
            assert (await ask(client, "Still?", role="chat")).code is None
            line = f"the file of the credential SOME_KEY {why}; the key known before stays in use"
            assert line in worker.log.read_text()


async def test_a6_j3_an_old_key_is_reported_in_log_event_metric_and_status(tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "FILE_KEY").write_text(OLD)
    modified_s = time.time() - 120.5 * 86_400
    os.utime(secrets / "FILE_KEY", (modified_s, modified_s))
    made = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 10 * 86_400))
    env = {
        "PENSTOCK_SECRETS_DIR": str(secrets),
        "PENSTOCK_SECRETS_POLL_S": "0.2",
        "ENV_KEY": OTHER,
        "ENV_KEY_CREATED": made,
    }
    text = config("FILE_KEY", "ENV_KEY")
    async with running_system(tmp_path, "chat", config=text, env=env) as system:

        async def announced() -> bool:
            events = await stored_events(system, CredentialAged)
            return [(each.credential, each.age_days) for each in events] == [("FILE_KEY", 120)]

        await until(announced)
        shown = await credentials(system)
        assert {name: each.age_days for name, each in shown.items()} == {"FILE_KEY": 120, "ENV_KEY": 10}
        exported = await system.metrics()
        assert 'penstock_credential_age_days{credential="FILE_KEY"} 120.0' in exported
        assert 'penstock_credential_age_days{credential="ENV_KEY"} 10.0' in exported
        assert "penstock_credential_max_age_days 90.0" in exported
        log = system.workers[0].log.read_text()
        assert log.count("the key of the credential FILE_KEY is 120 days old, more than 90: change it") == 1

        (secrets / "FILE_KEY").write_text(NEW)

        async def young() -> bool:
            return 'penstock_credential_age_days{credential="FILE_KEY"} 0.0' in await system.metrics()

        await until(young)


async def test_a6_a_key_in_a_providers_answer_is_not_stored_or_logged(tmp_path: Path) -> None:
    error = json.dumps({"error": {"message": f"Incorrect API key provided: Bearer {OLD}"}}).encode()
    error_event = b"data: " + error + b"\n\n"
    roles = {"chat": ["m-401"], "fast": ["m-429"], "logic": ["m-400"], "coding": ["m-stream"]}
    with scripted_provider(*(models[0] for models in roles.values())) as provider:
        for status in ("401", "429", "400"):
            provider.behaviours[f"m-{status}"] = lambda _, status=status: [
                head(f"{status} No", "application/json"),
                error,
            ]
        provider.behaviours["m-stream"] = lambda _: [head(), chunk("so far"), error_event]
        made = yaml.safe_load(catalogue(roles))
        made["providers"]["simulator"] |= {"base_url": provider.url, "api_key_env": ["A_KEY"]}
        env = {"A_KEY": OLD}
        async with (
            running_system(tmp_path, config=yaml.safe_dump(made), env=env) as system,
            await system.client() as client,
        ):
            received = [
                await ask(client, "Well?", role=role, lane=lane, timeout_s=2)
                for role in roles
                for lane in ("interactive", "batch")
            ]
            await until(lambda: _logs(system.workers[0], "request ended", len(received)))
            stored = await _everything(client)
            logs = "".join(each.log.read_text() for each in (system.router, *system.workers))

    assert all(each.code is not None for each in received)
    assert any("…" in each.failed.error.message for each in received), (
        "the message is reported without the key"
    )
    assert not [subject for subject, data in stored if OLD.encode() in data]
    assert OLD not in logs


async def _logs(process: Process, text: str, times: int) -> bool:
    return process.log.read_text().count(text) >= times


async def _everything(client: Client) -> list[tuple[str, bytes]]:
    """Every message of every stream and bucket."""
    found = []
    for name in [stream.name for stream in STREAMS] + [f"KV_{bucket.name}" for bucket in BUCKETS]:
        messages = [msg async for msg in read_all(client._nc, name, ">")]
        found += [((msg.headers or {})["Nats-Subject"], msg.data or b"") for msg in messages]
    assert found
    return found
