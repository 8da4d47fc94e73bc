"""A7: a provider whose model failed ranks behind the others until its cooldown is over."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from penstock.runtime.config.catalogue import Model, RoleConfig, WeightedStep
from services.worker.models.provider_cooldown import ProviderCooldown

NAMES = "abcdef"
COOLDOWN_S = 60.0
MODELS = {name: Model(provider=f"p-{name in 'ab'}" if name in "abcd" else name) for name in NAMES}
"""a and b have one provider, c and d another, e and f one each; f is in no weighted step."""
ROLES = (
    RoleConfig(
        chain=tuple(NAMES),
        weighted=(
            WeightedStep(models=("a", "b", "c"), weights=(1, 1, 1)),
            WeightedStep(models=("d", "e"), weights=(1, 1)),
        ),
    ),
)


class Cooling(RuleBasedStateMachine):
    """Compares with a list of all failures."""

    def __init__(self) -> None:
        super().__init__()
        self.cooldown = ProviderCooldown(MODELS, ROLES, COOLDOWN_S)
        self.now_s = 1000.0
        self.failures: list[tuple[float, str]] = []

    def recent(self) -> set[str]:
        return {model for at_s, model in self.failures if self.now_s < at_s + COOLDOWN_S}

    @rule(model=st.sampled_from(NAMES))
    def fails(self, model: str) -> None:
        out = {MODELS[each].provider for each in self.recent() if each != "f"}
        provider = MODELS[model].provider
        starts = model != "f" and provider not in out
        assert self.cooldown.record_failure(model, self.now_s) == (provider if starts else None)
        self.failures.append((self.now_s, model))

    @rule(by_s=st.sampled_from([0.001, 1.0, 29.5, 59.999, 60.0, 61.0]))
    def time_passes(self, by_s: float) -> None:
        self.now_s += by_s

    @invariant()
    def only_recent_failures_change_the_rank(self) -> None:
        recent = self.recent() - {"f"}
        out = {MODELS[model].provider for model in recent}
        for model in "abcde":
            expected = 2 if model in recent else int(MODELS[model].provider in out)
            assert self.cooldown.rank(model, self.now_s) == expected


TestCooling = Cooling.TestCase
