"""D11: a refusal that echoes the request changes no state that requests share: no model, key, cooldown or breaker.

Each provider has two keys here, and breakers open after two failures in a row.
"""

from __future__ import annotations

import json

import pytest

from penstock.contract.events import BreakerChanged, CredentialAvailabilityChanged, ModelAvailabilityChanged
from tests.fault.worker.providers.rows.table import (
    STREAMED,
    WHOLE,
    Both,
    Outcome,
    Row,
    Table,
    check,
    row_ids,
)
from tests.fault.worker.providers.rows.wire import Answer, delta, error, sized, stream
from tests.unit.worker.providers.errors.echo_samples import ECHOES, Echo


def _answer(echo: Echo) -> Answer | Both:
    if echo.status != 200:
        return error(echo.status, echo.body)
    return Both(stream(echo.body, done=False), sized(json.dumps(echo.body).encode()))


def _row(echo: Echo, *, streamed: bool) -> Row:
    return Row(
        name=f"echo, {echo.name}",
        modes=STREAMED if streamed else WHOLE,
        script={"first": [_answer(echo)]},
        text="from second",
        model="second",
        calls={"first": (1, 2), "second": 1},
    )


def _missing_model(name: str, answer: Answer, *, times: int) -> Row:
    return Row(
        name=f"a missing model, {name}",
        modes=WHOLE,
        script={"first": [answer]},
        times=times,
        text="from second",
        model="second",
        calls={"first": (0, 2), "second": 1},
        quiet=False,
        neighbour="second",
    )


def _api_error(message: str, **more: object) -> dict[str, object]:
    return {
        "error": {"message": message, "type": "invalid_request_error", "param": None, "code": None, **more}
    }


UNPROVEN = (
    Row(
        name="a key refused in unknown words: the other key is used, and none is withdrawn",
        modes=WHOLE,
        script={"first": [error(403, _api_error("We are sorry: this API key is not valid here."))]},
        bad_keys=1,
        text="from first",
        calls={"first": 2},
    ),
    Row(
        name="both keys refused in unknown words",
        modes=STREAMED,
        script={"first": [error(403, _api_error("We are sorry: this API key is not valid here."))]},
        text="from second",
        model="second",
        calls={"first": 2, "second": 1},
    ),
    Row(
        name="a rate limit message inside a 200",
        modes=STREAMED,
        script={
            "first": [stream({"error": {"message": "Too many requests, it seems", "code": "x"}}, done=False)]
        },
        text="from second",
        model="second",
        calls={"first": (1, 2), "second": 1},
    ),
    Row(
        name="one request whose stream always breaks",
        modes=STREAMED,
        script={"first": [stream(delta("Hel"), done=False)]},
        text="from second",
        model="second",
        calls={"first": 1, "second": 1},
        restarts=None,
    ),
    Row(
        name="a wait of thirty years",
        modes=WHOLE,
        script={"first": [error(429, _api_error("slow down"), "Retry-After: 999999999")]},
        text="from second",
        model="second",
        calls={"first": (1, 2), "second": 1},
        quiet=False,
        neighbour=None,
        paused_s=(0.5, 10.0),
    ),
    Row(
        name="a wait of twenty hours",
        modes=WHOLE,
        script={"first": [error(429, _api_error("slow down"), "Retry-After: 72000")]},
        text="from second",
        model="second",
        calls={"first": (1, 2), "second": 1},
        quiet=False,
        neighbour=None,
        paused_s=(3000.0, 3601.0),
    ),
)
MISSING_MODELS = (
    _missing_model(
        "in unknown words",
        error(400, _api_error("We are sorry: the model first has been retired by us.")),
        times=3,
    ),
    _missing_model(
        "in a known sentence",
        error(404, _api_error("The model `first` does not exist or you do not have access to it.")),
        times=1,
    ),
)
ROWS = (
    *(_row(echo, streamed=number % 2 == 0 or echo.status == 200) for number, echo in enumerate(ECHOES)),
    *UNPROVEN,
    *MISSING_MODELS,
)
TABLE = Table(rows=ROWS, keys=2, sections={"breaker": {"failure_threshold": 2, "open_s": 60}})


@pytest.mark.parametrize("name", row_ids(TABLE))
def test_d11_an_echo_of_the_request_changes_no_shared_state(outcomes: dict[str, Outcome], name: str) -> None:
    check(outcomes[name])


def test_d11_only_missing_models_are_withdrawn(outcomes: dict[str, Outcome]) -> None:
    events = [event for outcome in outcomes.values() for event in outcome.events]
    assert not [
        event for event in events if isinstance(event, BreakerChanged | CredentialAvailabilityChanged)
    ]
    withdrawn = {event.model for event in events if isinstance(event, ModelAvailabilityChanged)}
    missing = {f"{outcomes[name].lane}-first" for name in outcomes if name.startswith("a missing model")}
    assert withdrawn == missing
