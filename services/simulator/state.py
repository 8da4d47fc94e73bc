"""The state of a running simulator, shared by its handlers."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from services.simulator.answers.requests import Prompt
from services.simulator.behaviour.model_names import ModelName
from services.simulator.behaviour.served_models import ServedModels
from services.simulator.control.counts import Counts
from services.simulator.control.last_requests import LastRequests
from services.simulator.http.errors import ApiError, wrong_key
from services.simulator.rate_limits.limiter import RateLimiters
from services.simulator.settings import Settings

__all__ = ["Hold", "SimulatorState"]


class Hold(Struct, frozen=True, forbid_unknown_fields=True):
    """Which answers wait until they are released."""

    after_tokens: int | None = None
    """Number of tokens after which an answer waits; None: no answer waits."""
    label_suffix: str = ""
    """Only calls whose label ends so."""


_NO_HOLD: Final = Hold()


class SimulatorState:
    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        run_id: str,
    ) -> None:
        """`clock` returns monotonic, `wall_clock` Unix seconds; `run_id` makes request ids unique across runs."""
        self.clock = clock
        self.wall_clock = wall_clock
        self.speed = settings.speed
        self.header_style = settings.header_style
        self.models = ServedModels(settings.models)
        self.rate_limiters = RateLimiters(settings.limits)
        self.counts = Counts()
        self.last_requests = LastRequests()
        self.api_keys = settings.api_keys
        """Empty: any key is valid."""
        self.hold = _NO_HOLD
        self._context_tokens = settings.context_tokens
        self._run_id = run_id
        self._numbers = itertools.count(1)

    def next_request_id(self) -> str:
        return f"req_{self._run_id}{next(self._numbers):08x}"

    def holds(self, label: str, tokens: int) -> bool:
        """Whether the answer to a call of this label must wait after so many tokens."""
        after = self.hold.after_tokens
        return after is not None and tokens >= after and label.endswith(self.hold.label_suffix)

    def authorise(self, key: str) -> None:
        """Raise a 401 ApiError unless the key is valid."""
        if self.api_keys and key not in self.api_keys:
            raise wrong_key()

    def check_context(self, name: ModelName, prompt: Prompt) -> None:
        """Raise OpenAI's context_length_exceeded if prompt and answer exceed the model's context."""
        most = self._context_tokens.get(name.full) or self._context_tokens.get(name.base)
        if most is None:
            return
        requested = prompt.tokens + (prompt.answer_tokens or 0) if prompt.longest is None else prompt.longest
        if requested > most:
            raise ApiError(
                400,
                f"This model's maximum context length is {most} tokens. However, you requested {requested} "
                f"tokens ({prompt.tokens} in the messages, {prompt.answer_tokens or 0} in the completion). "
                "Please reduce the length of the messages or completion.",
                code="context_length_exceeded",
                param="messages",
            )

    def reset(self) -> None:
        """Reset counts, rate limit windows, sequences and the hold; behaviours, limits, models and speed stay."""
        self.hold = _NO_HOLD
        self.counts.reset()
        self.rate_limiters.restart()
        self.models.restart()
