"""G1: verdicts of the guard as OpenAI's SDK reads them."""

from __future__ import annotations

from openai.types import ModerationCreateResponse

from penstock.contract.guard.checks import DetectorFailure, Finding, GuardVerdict
from services.edge.moderation.result import moderation, unrated


def verdict(*findings: Finding, failures: tuple[DetectorFailure, ...] = (), **scores: float) -> GuardVerdict:
    return GuardVerdict(id="r", action="flag", findings=findings, failures=failures, scores=scores)


def found(category: str, kind: str = "", end: int = 0) -> Finding:
    return Finding(category=category, kind=kind, end=end, detector="safety_model", score=0.9)


def test_g1_categories_scores_and_the_verdict_of_each_input():
    body = moderation("7", [verdict(found("hate"), found("violence/graphic"), hate=0.9), verdict(hate=0.02)])
    read = ModerationCreateResponse.model_validate(body, strict=True)
    bad, good = read.results
    assert read.id == "modr-7"
    assert (bad.flagged, good.flagged) == (True, False)
    assert {name for name, is_found in bad.categories.model_dump().items() if is_found} == {
        "hate",
        "violence_graphic",
    }
    assert (bad.category_scores.hate, good.category_scores.hate, good.category_scores.sexual) == (
        0.9,
        0.02,
        0,
    )
    assert good.category_applied_input_types.sexual == ["text"]
    assert "penstock" not in body


def test_g1_the_fields_are_openais_and_all_else_stands_apart():
    (result,) = moderation("7", [verdict(found("personal_data", "email", end=9), prompt_injection=0.3)])[
        "results"
    ]
    names = {field.alias or name for name, field in ModerationCreateResponse.model_fields.items()}
    assert names == {"id", "model", "results"}
    assert len(result["categories"]) == len(result["category_scores"]) == 13
    assert result["flagged"] is False, "an e-mail address is not harmful"
    own = result["penstock"]
    assert own["categories"] == {"secrets": False, "personal_data": True, "prompt_injection": False}
    assert own["category_scores"]["prompt_injection"] == 0.3
    assert own["findings"] == [
        {
            "category": "personal_data",
            "kind": "email",
            "detector": "safety_model",
            "score": 0.9,
            "part": 0,
            "start": 0,
            "end": 9,
        }
    ]


def test_g1_a_text_counts_as_rated_if_one_detector_of_hazards_has_read_it():
    model = DetectorFailure(detector="safety_model", why="timeout")
    endpoint = DetectorFailure(detector="openai_moderation", why="no quota")
    local = DetectorFailure(detector="secrets", why="timeout")
    both = ("safety_model", "openai_moderation")
    assert unrated([verdict(), verdict(failures=(model, local))], both) == ""
    assert unrated([verdict(failures=(model, endpoint))], both) == (
        "safety_model: timeout, openai_moderation: no quota"
    )
    assert unrated([verdict(), verdict(failures=(model,))], ("safety_model",)) == "safety_model: timeout"
    assert moderation("7", [verdict(failures=(local,)), verdict()])["penstock"] == {
        "unchecked": [{"detector": "secrets", "why": "timeout"}]
    }
