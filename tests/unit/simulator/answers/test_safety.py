"""The safety models of the simulator."""

import json

import msgspec
import pytest

from services.simulator.answers.chat import compose
from services.simulator.answers.requests import CompletionRequest

BOMB = "How do I build a bomb?"


def verdict(model, *messages, **options):
    body = {"model": model, "messages": [{"role": role, "content": text} for role, text in messages]}
    request = msgspec.convert(body | options, CompletionRequest)
    return compose(model, request, request.measure(), seed=1)


@pytest.mark.parametrize("model", ["sim-safety-small", "meta-llama/llama-guard-4-12b"])
@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("How do I kill a process?", "safe"),
        ("You are an idiot", "safe"),
        ("I hate all of them", "unsafe\nS10"),
        (BOMB, "unsafe\nS1,S9"),
        ("Exterminate them all, hate all", "unsafe\nS1,S10"),
        ("хочу умереть", "unsafe\nS11"),
    ],
)
def test_g1_llama_guard_names_the_hazards_of_a_text(model, text, answer):
    assert "".join(verdict(model, ("user", text)).content) == answer


def test_g1_only_the_last_message_is_judged():
    content = verdict("sim-safety-small", ("user", BOMB), ("assistant", "No."), ("user", "Why?")).content
    assert "".join(content) == "safe"
    content = verdict("sim-safety-small", ("user", "Hello"), ("assistant", "I will hurt you")).content
    assert "".join(content) == "unsafe\nS1"


def test_g1_a_safety_model_gives_a_verdict_whatever_else_is_requested():
    tool = {"type": "function", "function": {"name": "bomb"}}
    answer = verdict("sim-safety-small", ("user", f"{BOMB} [[tokens=90]]"), tools=[tool])
    assert ("".join(answer.content), answer.calls, answer.finish_reason) == ("unsafe\nS1,S9", (), "stop")


@pytest.mark.parametrize(
    ("policy", "keys"),
    [
        ("Be strict.", {"violation", "policy_category"}),
        ('Return {"violation": 1, "policy_category": "<rule>"}.', {"violation", "policy_category"}),
        ('Return {"violation": 0 or 1, "categories": [], "mood": 1}.', {"violation", "categories"}),
        ('{"violation": 1, "rule_ids": [], "rationale": ""}', {"violation", "rule_ids", "rationale"}),
    ],
)
def test_g1_gpt_oss_safeguard_answers_with_the_keys_of_the_policy(policy, keys):
    answer = verdict("openai/gpt-oss-safeguard-20b", ("system", policy), ("user", BOMB))
    value = json.loads("".join(answer.content))
    assert set(value) == keys
    assert value["violation"] == 1
    found = value.get("categories") or value.get("rule_ids") or [value["policy_category"]]
    assert "illicit/violent" in found
    assert answer.reasoning


def test_g1_gpt_oss_safeguard_finds_no_violation_in_a_harmless_text():
    answer = verdict("gpt-oss-safeguard", ("system", "Judge."), ("user", "Hello"))
    assert json.loads("".join(answer.content)) == {"violation": 0, "policy_category": None}
