"""D6: the choices of `x-penstock-rescue`."""

from __future__ import annotations

import pytest

from services.edge.requests.rescue import RescueChoice, read_rescue


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("error", RescueChoice("error")),
        ("hold", RescueChoice("hold")),
        ("restart", RescueChoice("restart")),
        ("hold:1500", RescueChoice("hold_briefly", 1.5)),
    ],
)
def test_d6_a_choice_may_name_how_long_text_is_held(text: str, choice: RescueChoice):
    assert read_rescue(text) == choice


@pytest.mark.parametrize("text", ["", "hold_briefly", "hold:", "hold:01", "hold:-1", "error:5", "hold\n"])
def test_d6_another_text_is_no_choice(text: str):
    with pytest.raises(ValueError, match="hold:1500"):
        read_rescue(text)
