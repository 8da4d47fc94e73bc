"""D11: before a refusal touches what requests share, it is decided whose fault it is.

The breakers open after two failures in a row here, and each row makes its request several times, with other content
each time: what is held against the model although it is the request's own shows at once, in its neighbours.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from penstock.contract.events import BreakerChanged, ModelAvailabilityChanged
from tests.fault.providers.rows.table import STREAMED, WHOLE, Both, Outcome, Row, Table, check, params, ran
from tests.fault.providers.rows.wire import Answer, delta, error, sized, stream


def spoken(message: str, **more: object) -> dict[str, object]:
    return {"error": {"message": message, **more}}


def unhurt(name: str, answer: Answer | Both, times: int = 4, **more: object) -> Row:
    """The request's own fault, however often: the next model answers, and the first one stays as it was."""
    held = {"text": "from second", "model": "second", "calls": {"first": 1, "second": 1}, **more}
    return Row(name=name, script={"first": [answer]}, times=times, **held)


TO_LONG = {"text": "from long", "model": "long", "calls": {"first": 1, "long": 1}}
REFUSED = {"code": "content_filtered", "text": None, "model": "first", "calls": {"first": 1}}
LARGE = "Request too large for m on tokens per min (TPM): Limit 30000, Requested 61337."

OF_THE_REQUEST = (
    unhurt(
        "too long",
        error(400, spoken("prompt is too long: 9 tokens > 8 maximum", type="invalid_request_error")),
        **TO_LONG,
    ),
    unhurt(
        "too long, as a 500",
        error(
            500,
            spoken(
                "the request exceeds the available context size, try increasing it",
                code=500,
                type="exceed_context_size_error",
            ),
        ),
        **TO_LONG,
    ),
    unhurt(
        "too long, in a stream",
        Both(
            stream(
                {
                    "error": {
                        "code": 400,
                        "message": "The input token count (9) exceeds the "
                        "maximum number of tokens allowed (8).",
                    }
                },
                done=False,
            ),
            sized(
                json.dumps(
                    [
                        {
                            "error": {
                                "code": 400,
                                "message": "The input token count (9) exceeds the maximum number of tokens.",
                            }
                        }
                    ]
                ).encode()
            ),
        ),
        **TO_LONG,
    ),
    unhurt("too large as 429", error(429, spoken(LARGE, code="rate_limit_exceeded", type="tokens"))),
    unhurt("too large with a wait", error(429, spoken(LARGE, code="rate_limit_exceeded"), "retry-after: 32")),
    unhurt(
        "filtered as 403",
        error(
            403,
            spoken(
                "Your input was flagged by moderation",
                code=403,
                metadata={"reasons": ["violence"], "flagged_input": "x"},
            ),
        ),
        **REFUSED,
    ),
    unhurt("filtered", error(400, spoken("filtered", code="content_filter")), **REFUSED),
    unhurt("invalid", error(400, spoken("messages: roles must alternate", type="invalid_request_error"))),
    unhurt(
        "422",
        error(422, {"detail": [{"loc": ["body", "messages"], "msg": "Field required", "type": "missing"}]}),
    ),
    unhurt("499", error(499, spoken("Client closed request"))),
    unhurt("no tool use", error(404, spoken("No endpoints found that support tool use.", code=404)), times=2),
    unhurt("a 404 that says nothing", error(404, ""), times=2),
    unhurt("a 403 that says nothing", error(403, ""), times=2),
    unhurt(
        "no function calling",
        error(
            404, spoken("Function calling is not enabled for models/gemma-3", code=404, status="NOT_FOUND")
        ),
        times=2,
    ),
    # A request that breaks the server each time it is tried, in an application that tries it again and again.
    Row(
        name="one request and its 500",
        modes=WHOLE,
        script={"first": [error(500, spoken("template error"))]},
        times=1,
        text="from second",
        model="second",
        calls={"first": 2, "second": 1},
    ),
)

OF_THE_MODEL = (
    Row(
        name="model not found",
        modes=STREAMED,
        script={
            "first": [
                error(
                    404,
                    spoken(
                        "The model `first` does not exist or you do not have access to it.",
                        code="model_not_found",
                        type="invalid_request_error",
                    ),
                )
            ]
        },
        text="from second",
        model="second",
        calls={"first": 1, "second": 1},
        quiet=False,
        neighbour="second",
    ),
    Row(
        name="decommissioned",
        modes=WHOLE,
        script={
            "first": [
                error(
                    400,
                    spoken(
                        "The model `first` has been decommissioned and is no longer supported.",
                        code="model_decommissioned",
                    ),
                )
            ]
        },
        text="from second",
        model="second",
        calls={"first": 1, "second": 1},
        quiet=False,
        neighbour="second",
    ),
    Row(
        name="500 to all",
        modes=STREAMED,
        script={"first": [error(500, spoken("internal error"))]},
        times=4,
        text="from second",
        model="second",
        calls={"first": (0, 2), "second": 1},
        quiet=False,
        neighbour="second",
    ),
    Row(
        name="cut for all",
        modes=STREAMED,
        script={"first": [stream(delta("Hel"), done=False)]},
        times=3,
        text="from second",
        model="second",
        calls={"first": (0, 1), "second": 1},
        restarts=None,
        quiet=False,
        neighbour="second",
    ),
)

ROWS = (*OF_THE_REQUEST, *OF_THE_MODEL)
TABLE = Table(rows=ROWS, keys=1, sections={"breaker": {"failures": 2, "open_s": 60}})


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Outcome]]:
    with ran(TABLE, tmp_path_factory.mktemp("scope")) as done:
        yield done


@pytest.mark.parametrize("name", params(TABLE))
def test_d11_a_refusal_touches_only_what_it_concerns(outcomes: dict[str, Outcome], name: str) -> None:
    check(outcomes[name])


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("model not found | streamed", ModelAvailabilityChanged),
        ("decommissioned | whole", ModelAvailabilityChanged),
        ("500 to all | streamed", BreakerChanged),
        ("cut for all | streamed", BreakerChanged),
    ],
)
def test_d11_what_concerns_the_model_is_held_against_it(
    outcomes: dict[str, Outcome], name: str, kind: type[object]
) -> None:
    events = outcomes[name].events

    assert {type(event) for event in events} == {kind}
