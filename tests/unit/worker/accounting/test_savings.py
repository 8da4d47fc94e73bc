from __future__ import annotations

from penstock.runtime.config.catalogue import Model, Price
from services.worker.accounting.usage_recorder import saved_by_routing_microusd

MODELS = {
    "mini": Model(provider="openai", price=Price(input=150_000, output=600_000)),
    "heavy": Model(provider="openai", price=Price(input=2_500_000, output=10_000_000)),
}
CHAIN = ("heavy", "mini")


def test_f4_savings_are_the_difference_to_the_most_expensive_model() -> None:
    # 1,000 in and 500 out: heavy 2,500 + 5,000, mini 150 + 300 micro-dollars.
    assert saved_by_routing_microusd(CHAIN, MODELS, "mini", 1_000, 500) == 7_500 - 450
    assert saved_by_routing_microusd(CHAIN, MODELS, "heavy", 1_000, 500) == 0
    assert saved_by_routing_microusd(("mini",), MODELS, "heavy", 1_000, 500) == 0
