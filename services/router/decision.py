"""The decision on a request event: by the rules, and by a classifier where they recognise nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec import Struct
from msgspec.structs import replace

from services.router.classification.topic_client import TopicClient
from services.router.routing.inbound import InboundRequest
from services.router.routing.outcome import BodyNeeded, Rejected, Routed

__all__ = ["Decision"]


class Decision(Struct, frozen=True):
    rules: Callable[[InboundRequest], Routed | Rejected | BodyNeeded]
    """`routing.decide.decide` with the catalogue, the served roles and the time of the call filled in."""
    read_time: Callable[[], Awaitable[None]]
    """Reads the server's clock, by which the rules find a deadline passed; it may have stepped a moment ago."""
    is_ambiguous: Callable[[float], bool]
    """Whether the clock must be read to tell how old a time is that the server showed, Unix ms (`ServerTime`)."""
    topics: TopicClient | None = None
    """None: there is no classifier."""

    async def decide(self, inbound: InboundRequest) -> Routed | Rejected | BodyNeeded:
        """Only an unclear request costs a question to the classifier; without its answer the rules decide alone."""
        if self.is_ambiguous(inbound.stored_ms):
            await self.read_time()
        decided = self.rules(inbound)
        if isinstance(decided, Rejected) and decided.code == "deadline_exceeded":
            await self.read_time()
            decided = self.rules(inbound)
        if self.topics is None or not isinstance(decided, Routed) or not decided.unclear_text:
            return decided
        topic = await self.topics.classify(decided.unclear_text)
        return decided if topic is None else self.rules(replace(inbound, topic=topic))
