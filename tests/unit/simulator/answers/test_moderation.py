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
