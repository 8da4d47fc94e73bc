"""The text of `penstock explain` (A7, B5, C3)."""

from __future__ import annotations

import pytest

from penstock.cli.render.explanation import chain_text, explanation_text
from penstock.contract.explain import RoutingExplained, WeightedModels
from penstock.contract.names import Lane, implicit_role

AB = WeightedModels(models=("a", "b"), weights=(70, 30))
CD = WeightedModels(models=("c", "d"), weights=(1, 2))


@pytest.mark.parametrize(
    ("chain", "weighted", "text"),
    [
        ((), (), ""),
        (("a", "b"), (), "a → b"),
        (("c", "a", "b"), (AB,), "c → a 70 | b 30"),
        (("a", "b", "c", "d"), (CD, AB), "a 70 | b 30 → c 1 | d 2"),
    ],
)
def test_a7_b5_a_chain_shows_its_weights(chain, weighted, text) -> None:
    assert chain_text(chain, weighted) == text


def test_b5_the_implicit_role_of_a_model_is_not_shown() -> None:
    explained = RoutingExplained(role=implicit_role("m.1"), complexity="simple", why="", chain=("m.1",))

    assert explanation_text(explained, 0).splitlines()[0] == "role        none: the request names a model"


@pytest.mark.parametrize(
    ("lane", "words"),
    [("interactive", "as an interactive request"), ("batch", "as a job of the batch lane"), (None, "now")],
)
def test_c3_an_admitted_request_shows_its_wait_and_its_lane(lane: Lane | None, words: str) -> None:
    """A router of an older version sends no lane."""
    explained = RoutingExplained(
        role="chat", complexity="simple", why="", chain=("m",), wait_s=12.0, lane=lane
    )

    lines = explanation_text(explained, 0).splitlines()

    assert lines[-2:] == ["wait        about 12 s", f"admitted    {words}"]
    assert RoutingExplained(role="chat", complexity="simple", why="", chain=()).lane is None


@pytest.mark.parametrize(
    ("position", "wait_s", "text"),
    [
        (0, 0.0, "none"),
        (0, 3.5, "about 3.5 s, as the next request"),
        (1, 3.5, "about 3.5 s, behind 1 request"),
        (1200, 80.0, "about 80 s, behind 1,200 requests"),
        (7, None, "not known, behind 7 requests"),
        (None, None, "not known"),
    ],
)
def test_e5_the_wait_is_shown_with_the_queue_position(position, wait_s, text) -> None:
    explained = RoutingExplained(
        role="chat", complexity="simple", why="", chain=("m",), wait_s=wait_s, queue_position=position
    )

    assert f"wait        {text}" in explanation_text(explained, 0).splitlines()


def test_d10_a_chain_without_a_usable_model_is_reported() -> None:
    explained = RoutingExplained(
        role="chat", complexity="simple", why="", chain=(), wait_s=0.0, lane="interactive"
    )

    assert "no model of the chain can serve it" in explanation_text(explained, 0).splitlines()[-1]


@pytest.mark.parametrize(("left_ms", "shown"), [(90_000, "90 s"), (50, "0.05 s"), (-3, "0.00 s")])
def test_c3_less_than_a_second_until_the_deadline_is_shown(left_ms: int, shown: str) -> None:
    explained = RoutingExplained(
        role="chat",
        complexity="simple",
        why="",
        chain=("m",),
        wait_s=0.0,
        lane="batch",
        deadline_ms=1_000 + left_ms,
    )

    assert explanation_text(explained, 1_000).endswith(f", with {shown} until its deadline")
