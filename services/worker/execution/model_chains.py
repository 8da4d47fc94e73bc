"""The model chain of one request: which models can serve it, in which order."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from penstock.bus.clock import loop_now_s
from penstock.runtime.config.catalogue import Catalogue, RoleConfig
from penstock.runtime.model_chain import needs_of, order, shortfall
from services.worker.execution.state import CallState, GaveUp
from services.worker.models.provider_cooldown import ProviderCooldown
from services.worker.models.weighted_choice import order_by_rank, weighted_order

__all__ = ["ModelChains", "failed_last"]


class ModelChains(Struct, frozen=True):
    """Builds the chain of each request."""

    catalogue: Catalogue
    cooldown: ProviderCooldown
    random: Callable[[], float]
    """Returns numbers in [0, 1)."""

    def for_request(self, execution: CallState) -> tuple[str, ...]:
        """The models that can serve the request, in order. Raises GaveUp when there are none."""
        work, role, tokens = execution.work, execution.role, execution.size.input_tokens
        models = self.catalogue.models
        needs = needs_of(tokens, vision=work.vision)
        chain = order(role, models, work.complexity, needs)
        if chain and not role.weighted:
            return chain
        if chain:
            chain = weighted_order(chain, role.weighted, self.random)
            return failed_last(chain, role, self.cooldown, loop_now_s())
        if shortfall(role, models, needs) == "vision":
            raise GaveUp("invalid_request", f"no model of the role {work.role} reads images")
        longest = max(models[key].context_tokens for key in role.chain)
        message = f"about {tokens:,} tokens; the role {work.role} reads {longest:,} at most"
        raise GaveUp("context_length_exceeded", message)

    def for_batch(self, state: CallState) -> tuple[str, ...]:
        """The models for texts that are embedded together: the chain of the role, whatever its complexity."""
        role = state.role
        chain = weighted_order(role.chain, role.weighted, self.random)
        return failed_last(chain, role, self.cooldown, loop_now_s())


def failed_last(
    chain: tuple[str, ...], role: RoleConfig, cooldown: ProviderCooldown, now_s: float
) -> tuple[str, ...]:
    """The chain, with models of providers that failed a moment ago behind the others of their weighted step."""
    if not role.weighted:
        return chain
    return order_by_rank(chain, role.weighted, lambda model: cooldown.rank(model, now_s))
