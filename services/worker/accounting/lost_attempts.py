"""Records the usage of the attempts that workers made before they were lost."""

from __future__ import annotations

from penstock.contract import headers
from penstock.contract.work import ChatWork
from penstock.runtime.accounting.prior_attempts import PriorAttempts, lost_attempts
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.consumer.delivery import Delivery
from services.worker.accounting.charge import NO_CHARGE, Charge, charge_of
from services.worker.accounting.usage_recorder import UsageRecorder

__all__ = ["record_lost_attempts"]


def record_lost_attempts(
    recorder: UsageRecorder, catalogue: Catalogue, work: ChatWork, prior: PriorAttempts, delivery: Delivery
) -> Charge:
    """Record estimated usage for the attempts of workers that are gone; usage they recorded themselves stays (F2).

    Returns what the attempts cost by this estimate.
    """
    charged = NO_CHARGE
    for record in lost_attempts(work, prior, catalogue.models):
        recorded = recorder.record(work, record, delivery.headers.get(headers.TRACEPARENT))
        tokens = record.usage.input_tokens + record.usage.output_tokens
        charged = charged.plus(charge_of(recorded.cost_picousd, tokens, priced=recorded.priced))
    return charged
