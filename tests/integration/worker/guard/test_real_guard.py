"""G3, G6: the worker with the guard service itself: the same redaction for every way of cutting the answer."""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import running_system
from tests.harness.providers.scripted_provider import DONE, Call, chunk, head, scripted_provider, whole
from tests.harness.requests.replies import ask

GUARD = {
    "input": {"personal_data": "redact", "secrets": "redact"},
    "output": {"personal_data": "redact", "secrets": "redact"},
}
PROMPT = "I am ann.lee@mail-server.org, my card is 4532 0151 1283 0366."
HIDDEN = "I am [EMAIL_1], my card is [PAYMENT_CARD_1]."
SAID = (
    "[EMAIL_1] is noted. Ask bob.smith@corp-mail.org or call +90 532 123 45 67; pay to"
    " DE89 3704 0044 0532 0130 00 by 2026-12-01, not to [PAYMENT_CARD_1]."
)
SHOWN = (
    "ann.lee@mail-server.org is noted. Ask [EMAIL_2] or call [PHONE_1]; pay to"
    " [IBAN_1] by 2026-12-01, not to 4532 0151 1283 0366."
)


async def test_g3_g6_a_request_and_its_answer_are_redacted_by_the_service(tmp_path: Path) -> None:
    with scripted_provider("m-chat") as provider:
        config = yaml.safe_load(catalogue(guard=GUARD))
        config["providers"]["simulator"]["base_url"] = provider.url
        async with (
            running_system(tmp_path, "chat", config=yaml.safe_dump(config)) as system,
            await system.client() as client,
        ):
            guard = system._process("services.guard")
            await guard.start()
            for each in (1, 3, 11, len(SAID)):
                chunks = [chunk(SAID[at : at + each]) for at in range(0, len(SAID), each)]

                def answer(call: Call, chunks: list[bytes] = chunks) -> list[bytes]:
                    if call.body.get("stream"):
                        return [head(), *chunks, chunk(None, "stop"), DONE]
                    return [head("200 OK", "application/json"), whole(SAID)]

                provider.answer = answer
                for stream in (True, False):
                    received = await ask(client, PROMPT, role="chat", stream=stream)
                    assert provider.calls[-1].body["messages"][-1]["content"] == HIDDEN
                    assert received.text == SHOWN
                    assert len(received.completed.guarded) == 5
            logged = "".join(log.read_text() for log in tmp_path.rglob("*.log"))
            assert "ann.lee" not in logged
            assert "bob.smith" not in logged
