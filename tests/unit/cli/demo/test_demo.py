"""The prompts, the environment and the catalogue of the demo."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from penstock.cli.commands.question import messages
from penstock.cli.demo.catalogue import LIMITED_ROLE, QUOTA, write_catalogue
from penstock.cli.demo.demo import demo_environment
from penstock.cli.demo.documents import shipped_pages
from penstock.cli.demo.prompts import PROMPTS
from penstock.cli.demo.steps import PromptResult, result_table
from penstock.client.reply import Reply
from penstock.contract.names import AUTO, ROLES
from penstock.contract.reply import Timings, Usage
from penstock.runtime.config.load import read_catalogue
from services.router.routing.features import extract_features
from services.router.routing.role import resolve


@pytest.mark.parametrize("prompt", PROMPTS, ids=lambda prompt: prompt.title)
def test_the_router_chooses_the_expected_role_for_every_prompt(prompt):
    body = msgspec.json.encode({"messages": messages(prompt.text, prompt.images)})

    assert (
        resolve(prompt.role, extract_features(body), read_catalogue(None, {}), ROLES).role == prompt.expected
    )


def test_the_prompts_cover_six_roles_mostly_chosen_by_the_router():
    assert len(PROMPTS) >= 8
    assert len({prompt.expected for prompt in PROMPTS}) >= 6
    assert sum(prompt.role == AUTO for prompt in PROMPTS) >= 6


def test_the_demo_ignores_the_settings_of_the_user():
    user = {"NATS_URL": "nats://prod:4222", "GROQ_API_KEY": "k", "SIMULATOR_LIMITS": "{}"}
    env = demo_environment(user, Path("/demo.yaml"))

    assert not env["NATS_URL"]
    assert env["PENSTOCK_CATALOGUE"] == "/demo.yaml"
    assert not env["SIMULATOR_LIMITS"]


def test_one_role_of_the_catalogue_has_only_a_limited_model(tmp_path: Path):
    catalogue = read_catalogue(write_catalogue(tmp_path, {"GROQ_API_KEY": "k"}), {})

    (model,) = catalogue.roles[LIMITED_ROLE].chain
    assert catalogue.models[model].limits.requests_per_minute == QUOTA
    assert catalogue.models[model].limits.kind == "token_bucket"
    assert LIMITED_ROLE not in {prompt.expected for prompt in PROMPTS}
    assert [model for model, each in catalogue.models.items() if not each.limits.is_unlimited] == [model]


def reply(role: str) -> Reply:
    return Reply(
        id="r",
        text="",
        role=role,
        complexity="simple",
        why="because " * 20,
        model="m",
        provider="p",
        attempts=2,
        finish_reason="stop",
        usage=Usage(),
        cost_microusd=0,
        timings=Timings(first_token_ms=150.0, total_ms=480.0),
        response=None,
    )


def test_the_table_marks_wrong_roles_and_failures():
    first = PROMPTS[0]
    results = [
        PromptResult(first, reply(first.expected)),
        PromptResult(first, reply("fast")),
        PromptResult(first, None, "no luck"),
    ]

    lines = result_table(results).splitlines()[2:]

    assert [result.good for result in results] == [True, False, False]
    assert lines[0].endswith("ok")
    assert lines[1].endswith(f"expected {first.expected}")
    assert lines[2].endswith("failed: no luck")
    assert "480 ms" in lines[0]


def test_k2_the_pages_that_the_demo_indexes_are_found_and_answer_its_question():
    pages = shipped_pages()
    assert (pages / "failure.md").is_file()
    assert len(list(pages.glob("*.md"))) > 10
