"""H4, D1: a worker that is killed right after an answer has sent what is to be remembered, and sends it once."""

from __future__ import annotations

from penstock.contract.reply import Completed
from tests.harness.processes.system import System
from tests.harness.providers.said import script
from tests.harness.providers.scripted_provider import ScriptedProvider
from tests.harness.requests.remembered_turns import RememberedTurns

_ROUNDS = 4


async def test_h4_a_worker_that_is_killed_after_the_answer_has_sent_the_turn_once(
    system: System, provider: ScriptedProvider
) -> None:
    script(provider, "In Bern.")
    async with RememberedTurns.of_new_account(system) as account:
        asked: list[str] = []
        for number in range(_ROUNDS):
            stream = account.client.stream(
                f"Where do I spend holiday {number}?", role="chat", user="ann", conversation="trip"
            )
            async for event in stream:
                if isinstance(event, Completed):
                    system.workers[0].kill()
            asked.append(stream.id)
            system.workers[0] = system.new_worker("chat")
            await system.workers[0].start()
        documents = [document.id for _, document in await account.turns()]
    assert documents == [f"trip/{each}" for each in asked]
    assert len(provider.calls) == _ROUNDS
