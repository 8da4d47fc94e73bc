"""What becomes of a message whose reply another process has continued or ended."""

from __future__ import annotations

from penstock.runtime.consumer.delivery import ACK, NO_VERDICT, Delivery, Verdict
from penstock.runtime.reply_publisher import ReplyPublisher, Superseded

__all__ = ["verdict_on_superseded"]


async def verdict_on_superseded(superseded: Superseded, delivery: Delivery, reply: ReplyPublisher) -> Verdict:
    """A first delivery of a reply that has ended is a request whose id was used before: its sender gets the stored end
    again. Any other message is left to the process that has continued the reply.
    """
    if superseded.end is None or delivery.number > 1:
        return NO_VERDICT
    await reply.repeat(superseded.end)
    return ACK
