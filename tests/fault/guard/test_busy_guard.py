"""G2, G4: several long answers at once make a guard busy: it slows them down, and none fails or is not checked."""

from __future__ import annotations

import asyncio
from pathlib import Path

import yaml

from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import running_system
from tests.harness.providers.scripted_provider import DONE, chunk, head, scripted_provider
from tests.harness.requests.replies import ask

STREAMS = 4
LINES = "0123456789 abcdefghijklmnopqrstuvwxyz \u00c4\u00d6\u00dc\n" * 24
SAID = f"{LINES}Ask bob.smith@corp-mail.org.\n"
SHOWN = f"{LINES}Ask [EMAIL_1].\n"
CHUNKS = 200
GUARD = {
    "input": {"prompt_injection": "allow", "secrets": "allow", "personal_data": "allow"},
    "output": {"personal_data": "redact", "secrets": "redact"},
    "wait_s": 6,
    "detectors": {"personal_data": {"timeout_s": 1}, "secrets": {"timeout_s": 1}},
}


async def test_g2_g4_long_fast_answers_wait_for_a_busy_guard(tmp_path: Path) -> None:
    with scripted_provider("m-chat") as provider:
        provider.answer = lambda _: [head(), *[chunk(SAID)] * CHUNKS, chunk(None, "stop"), DONE]
        config = yaml.safe_load(catalogue(guard=GUARD))
        config["providers"]["simulator"]["base_url"] = provider.url
        async with (
            running_system(tmp_path, "chat", config=yaml.safe_dump(config)) as system,
            await system.client() as client,
        ):
            await system.new_guard().start()
            received = await asyncio.gather(
                *(ask(client, f"{number}", role="chat", timeout_s=60) for number in range(STREAMS))
            )
            for each in received:
                assert not each.completed.unchecked
                assert set(each.text.splitlines()) == set(SHOWN.splitlines())
                assert len(each.text) == len(SHOWN) * CHUNKS
