"""Usage of the attempts that workers made before they were lost."""

from __future__ import annotations

from typing import Final

from penstock.contract.reply import Usage
from penstock.contract.work import ChatWork
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.tokens import OUTPUT_BYTES_PER_TOKEN
from penstock.runtime.usage_events import AttemptRecord
from services.worker.accounting.usage_recorder import UsageRecorder
from services.worker.redelivery.prior_attempts import PriorAttempts

__all__ = ["record_lost_attempts"]

_LOST: Final = "worker_lost"
"""The outcome of an attempt whose worker is gone."""


def record_lost_attempts(
    recorder: UsageRecorder, catalogue: Catalogue, work: ChatWork, prior: PriorAttempts
) -> None:
    """Record estimated usage for the attempts of workers that are gone; usage they recorded themselves stays (F2)."""
    for started in prior.attempts:
        if started.model not in catalogue.models:
            continue
        sent_bytes = prior.bytes_out.get(started.attempt, 0)
        usage = Usage(input_tokens=work.estimated_tokens, output_tokens=sent_bytes // OUTPUT_BYTES_PER_TOKEN)
        record = AttemptRecord(
            number=started.attempt,
            model=started.model,
            credential="unknown",
            outcome=_LOST,
            usage=usage,
            estimated=True,
        )
        recorder.record(work, record)
