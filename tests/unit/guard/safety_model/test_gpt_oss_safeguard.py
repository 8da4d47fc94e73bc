"""G1: the format of gpt-oss-safeguard, with and without the marks of harmony."""

from __future__ import annotations

import pytest

from services.guard.remote.rater import CallFailed, Piece
from services.guard.safety_model.gpt_oss_safeguard import GPT_OSS_SAFEGUARD

YES = '{"violation": 1, "categories": ["hate"]}'
NO = '{"violation": 0, "categories": []}'
REASONING = 'The user says "kill". {"violation": 1} would be wrong, because'


def flagged(answer: str) -> set[str]:
    return set(GPT_OSS_SAFEGUARD.read(answer).flagged)


@pytest.mark.parametrize(
    ("answer", "categories"),
    [
        (NO, set()),
        (YES, {"hate"}),
        (f"```json\n{YES}\n```", {"hate"}),
        (f"Here is my answer:\n{YES}\nI hope this helps.", {"hate"}),
        ('{"violation": true, "category": "Self-Harm"}', {"self-harm"}),
        ('{"violation": "1", "policy_category": "sexual_minors", "confidence": "high"}', {"sexual/minors"}),
        ('{"violation": 1, "categories": ["hate", "violence",],}', {"hate", "violence"}),
        ('{"violation": 1, "policy_category": "D2.b", "rule_ids": ["D2"]}', {"illicit"}),
        ('{"violation": 1, "category": null, "rationale": "{braces} in text"}', {"illicit"}),
        ('{"flagged": false}', set()),
        ('{"label": "VIOLATES"}', {"illicit"}),
        ("1", {"illicit"}),
        ("0", set()),
        ("\n **VIOLATION** \n", {"illicit"}),
        ("The policy is not violated.\n\nAnswer: 0", set()),
        (
            f"<|channel|>analysis<|message|>{REASONING}<|end|><|start|>assistant<|channel|>final<|message|>{NO}",
            set(),
        ),
        (f"<|channel|>final <|constrain|>json<|message|>{YES}<|return|>", {"hate"}),
        (f"analysis{REASONING}assistantfinal{NO}", set()),
        (f"<think>{REASONING}</think>{NO}", set()),
        (f"{YES}\n{NO}", set()),
    ],
)
def test_g1_the_last_verdict_counts_in_every_form(answer: str, categories: set[str]):
    assert flagged(answer) == categories


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "I'm sorry, but I can't help with that.",
        f"<|channel|>analysis<|message|>{REASONING} 0",
        f"analysis{REASONING}\n0",
        f"<think>{REASONING}\n0",
        '{"confidence": "high"}',
        '{"violation": "maybe"}',
        "{" * 10_000,
        '{"violation": ' + "[" * 10_000,
    ],
)
def test_g1_any_other_answer_is_no_verdict(answer: str):
    with pytest.raises(CallFailed) as caught:
        GPT_OSS_SAFEGUARD.read(answer)
    assert caught.value.kind == "outage"


def test_g1_the_policy_is_the_system_message_and_the_content_the_user_message():
    system, user = GPT_OSS_SAFEGUARD.messages(Piece("some text"), "")
    assert (system["role"], user) == ("system", {"role": "user", "content": "some text"})
    assert '{"violation": 1, "categories": ["hate"]}' in system["content"]
    assert GPT_OSS_SAFEGUARD.messages(Piece("x"), "My policy")[0]["content"] == "My policy"
