import pytest

from penstock.cli.render.chain import chain_text
from penstock.contract.explain import DrawnStep

AB = DrawnStep(models=("a", "b"), weights=(70, 30))
CD = DrawnStep(models=("c", "d"), weights=(1, 2))


@pytest.mark.parametrize(
    ("chain", "weighted", "text"),
    [
        ((), (), ""),
        (("a", "b"), (), "a → b"),
        (("c", "a", "b"), (AB,), "c → a 70 | b 30"),
        (("a", "b", "c", "d"), (CD, AB), "a 70 | b 30 → c 1 | d 2"),
    ],
)
def test_a7_b5_a_chain_shows_its_shares(chain, weighted, text) -> None:
    assert chain_text(chain, weighted) == text
