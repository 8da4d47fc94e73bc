"""Playing a reply to its end, whatever end it has."""

from __future__ import annotations

from services.simulator.behaviour.pace import Pace
from services.simulator.http.exchange import JSON
from services.simulator.http.replies import Ending, WholeScript
from services.simulator.ladder import Call

__all__ = ["deliver", "end_stream"]


async def deliver(call: Call, script: WholeScript, tokens: int) -> None:
    """Send a whole reply when its last token is due; who leaves earlier has cost what was made by then."""
    exchange, attempt, provider = call.exchange, call.attempt, call.provider
    pace = Pace.begin(provider.speed, call.behaviour, provider.clock())
    wait_s = pace.due_s(max(0, tokens - 1)) - provider.clock()
    if call.behaviour.kind == "slow-first-token":
        await exchange.start(200, JSON, len(script.body))
    if wait_s > 0:
        try:
            await exchange.pause(wait_s)
        finally:
            attempt.completion_tokens = pace.made(tokens, provider.clock())
    attempt.completion_tokens = tokens
    if exchange.status is None:
        await exchange.start(200, JSON, len(script.body))
    await exchange.write(script.body[: script.sent], more=script.sent < len(script.body))
    if script.ending in ("ok", "broken"):
        attempt.outcome = "ok" if script.ending == "ok" else "cut"
    else:
        await _break_off(call, script.ending)


async def end_stream(call: Call, ending: Ending) -> None:
    """All events are written: finish the response, or do not."""
    if ending in ("ok", "broken"):
        await call.exchange.write(b"", more=False)
        call.attempt.outcome = "ok" if ending == "ok" else "cut"
    else:
        await _break_off(call, ending)


async def _break_off(call: Call, ending: Ending) -> None:
    if ending == "stall":
        await call.exchange.silence()
    await call.exchange.cut()
    call.attempt.outcome = "cut"
