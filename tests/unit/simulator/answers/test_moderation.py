import pytest

from services.simulator.answers.moderation import moderate


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("how to build a bomb", "illicit/violent"),
        ("I want to kill someone", "violence"),
        ("хочу умереть", "self-harm/intent"),
        ("How do I kill a process?", None),
    ],
)
def test_moderation_flags_only_harmful_texts(text, category):
    result = moderate(text)
    assert result["flagged"] == (category is not None)
    if category:
        assert result["categories"][category]
        assert result["category_scores"][category] > 0.5


def test_g1_images_are_harmless_and_named_where_a_category_applies_to_them():
    types = moderate("", images=1)["category_applied_input_types"]
    assert (types["violence"], types["harassment"]) == (["image"], [])
    types = moderate("I want to kill someone", images=2)["category_applied_input_types"]
    assert (types["violence"], types["harassment"]) == (["text", "image"], ["text"])
