"""D11: a request whose own words a provider repeats is refused, or answered elsewhere, and touches nothing that other
requests share: no model, key, pause or breaker.

Each provider has two keys here, and breakers open after two failures in a row.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from penstock.contract.events import BreakerChanged, CredentialAvailabilityChanged, ModelAvailabilityChanged
from tests.fault.providers.rows.table import STREAMED, WHOLE, Both, Outcome, Row, Table, check, params, ran
from tests.fault.providers.rows.wire import Answer, delta, error, sized, stream
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


def _gone(name: str, answer: Answer, *, times: int) -> Row:
    return Row(
        name=f"a model that is gone, {name}",
        modes=WHOLE,
        script={"first": [answer]},
        times=times,
        text="from second",
        model="second",
        calls={"first": (0, 2), "second": 1},
        quiet=False,
        neighbour="second",
    )


def _said(message: str, **more: object) -> dict[str, object]:
    return {
        "error": {"message": message, "type": "invalid_request_error", "param": None, "code": None, **more}
    }


ALONE = (
    Row(
        name="a key refused in words of its own: the other one answers, and none is set aside",
        modes=WHOLE,
        script={"first": [error(403, _said("We are sorry: this API key is not valid here."))]},
        bad_keys=1,
        text="from first",
        calls={"first": 2},
    ),
    Row(
        name="both keys refused in words of its own",
        modes=STREAMED,
        script={"first": [error(403, _said("We are sorry: this API key is not valid here."))]},
        text="from second",
        model="second",
        calls={"first": 2, "second": 1},
    ),
    Row(
        name="a limit in words within a 200",
        modes=STREAMED,
        script={
            "first": [stream({"error": {"message": "Too many requests, it seems", "code": "x"}}, done=False)]
        },
        text="from second",
        model="second",
        calls={"first": (1, 2), "second": 1},
    ),
    Row(
        name="one content that cuts its stream each time",
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
        script={"first": [error(429, _said("slow down"), "Retry-After: 999999999")]},
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
        script={"first": [error(429, _said("slow down"), "Retry-After: 72000")]},
        text="from second",
        model="second",
        calls={"first": (1, 2), "second": 1},
        quiet=False,
        neighbour=None,
        paused_s=(3000.0, 3601.0),
    ),
)
AGREED = (
    _gone(
        "in words of its own",
        error(400, _said("We are sorry: the model first has been retired by us.")),
        times=3,
    ),
    _gone(
        "in a known sentence",
        error(404, _said("The model `first` does not exist or you do not have access to it.")),
        times=1,
    ),
)
ROWS = (
    *(_row(echo, streamed=number % 2 == 0 or echo.status == 200) for number, echo in enumerate(ECHOES)),
    *ALONE,
    *AGREED,
)
TABLE = Table(rows=ROWS, keys=2, sections={"breaker": {"failures": 2, "open_s": 60}})


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Outcome]]:
    with ran(TABLE, tmp_path_factory.mktemp("echoes")) as done:
        yield done


@pytest.mark.parametrize("name", params(TABLE))
def test_d11_what_a_provider_repeats_touches_nothing(outcomes: dict[str, Outcome], name: str) -> None:
    check(outcomes[name])


def test_d11_only_models_that_are_gone_are_withdrawn(outcomes: dict[str, Outcome]) -> None:
    events = [event for outcome in outcomes.values() for event in outcome.events]
    assert not [
        event for event in events if isinstance(event, BreakerChanged | CredentialAvailabilityChanged)
    ]
    withdrawn = {event.model for event in events if isinstance(event, ModelAvailabilityChanged)}
    gone = {f"{outcomes[name].lane}-first" for name in outcomes if name.startswith("a model that is gone")}
    assert withdrawn == gone
