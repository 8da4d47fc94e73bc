"""The use of one scope in its current periods, as an array of integers: about 250 bytes for each user.

A scope has one array for all its traffic; an account has further ones for each class of traffic. A period of which the
end has passed counts as unused, and is replaced when something counts to the next one.
"""

from __future__ import annotations

from array import array
from collections.abc import MutableSequence
from typing import Final, NamedTuple

from msgspec import Struct

from penstock.contract.ledger.policies import LimitName
from services.ledger.budget.periods import MINUTE_S, Calendar

__all__ = [
    "HELD_MONEY",
    "KINDS",
    "MONEY",
    "OPEN",
    "OPEN_HOLDS",
    "OUTPUT_TOKENS",
    "REQUESTS",
    "TOKENS",
    "Change",
    "Kind",
    "Values",
    "ends_at_s",
    "from_stored",
    "in_use",
    "mark_alerted",
    "new_values",
    "record",
    "starts_at_s",
    "stored",
    "was_alerted",
]

Values = MutableSequence[int]
"""An `array` of signed 64-bit integers; a list for sums of more than 2 million dollars."""
# What a limit counts: indices into the amounts of a request.
REQUESTS: Final = 0
TOKENS: Final = 1
MONEY: Final = 2
OPEN_HOLDS: Final = 3
OUTPUT_TOKENS: Final = 4

(_SECOND_END, _MINUTE_END, _HOUR_END, _DAY_END, _MONTH_END) = range(5)
(_DAY_START, _MONTH_START) = range(5, 7)
(_SECOND_REQUESTS, _MINUTE_REQUESTS, _HOUR_REQUESTS) = range(7, 10)
(_MINUTE_TOKENS, _MINUTE_TOKENS_HELD, _DAY_TOKENS, _DAY_TOKENS_HELD) = range(10, 14)
(_DAY_MONEY, _DAY_MONEY_HELD, _MONTH_MONEY, _MONTH_MONEY_HELD) = range(14, 18)
HELD_MONEY: Final = 18
"""Index of the picodollars held by all open holds, whatever their period."""
OPEN: Final = 19
"""Index of the number of open holds."""
_ALERTED: Final = 20
_SIZE: Final = 22
_NONE: Final = -1
"""The last index, whose value is always 0: what a limit does not count."""

_DAY_ALERTS: Final = 0b1111
_MONTH_ALERTS: Final = 0b110000
_WIDE: Final = 2**61
"""A sum from which on a scope counts in a list: what is left of 64 bits is much more than any single amount."""


class Kind(Struct, frozen=True, gc=False):
    """What a limit counts, and where: indices into the values of a scope."""

    name: LimitName
    unit: int
    end: int = _NONE
    spent: int = _NONE
    held: int = _NONE
    start: int = _NONE
    length_s: int = 0
    """Of periods without a stored start."""
    alert_80: int = 0
    """The bit that says that the alert at 80 percent was raised; the next one is that of 100 percent. 0: no alerts."""


KINDS: Final[dict[LimitName, Kind]] = {
    kind.name: kind
    for kind in (
        Kind("requests_per_second", REQUESTS, _SECOND_END, _SECOND_REQUESTS, length_s=1),
        Kind("requests_per_minute", REQUESTS, _MINUTE_END, _MINUTE_REQUESTS, length_s=MINUTE_S),
        Kind("requests_per_hour", REQUESTS, _HOUR_END, _HOUR_REQUESTS),
        Kind(
            "tokens_per_minute", TOKENS, _MINUTE_END, _MINUTE_TOKENS, _MINUTE_TOKENS_HELD, length_s=MINUTE_S
        ),
        Kind("tokens_per_day", TOKENS, _DAY_END, _DAY_TOKENS, _DAY_TOKENS_HELD, _DAY_START, alert_80=1),
        Kind("tokens_per_request", OUTPUT_TOKENS),
        Kind("microusd_per_day", MONEY, _DAY_END, _DAY_MONEY, _DAY_MONEY_HELD, _DAY_START, alert_80=4),
        Kind(
            *("microusd_per_month", MONEY, _MONTH_END, _MONTH_MONEY, _MONTH_MONEY_HELD, _MONTH_START),
            alert_80=16,
        ),
        Kind("concurrency", OPEN_HOLDS, held=OPEN),
    )
}


class Change(NamedTuple):
    """What one journal entry adds to each scope that it concerns."""

    requests: int = 0
    tokens: int = 0
    held_tokens: int = 0
    picousd: int = 0
    held_picousd: int = 0
    opened: int = 0
    """Holds opened less holds ended."""


def new_values() -> Values:
    return array("q", bytes(8 * _SIZE))


def starts_at_s(values: Values, kind: Kind) -> int:
    """When the stored period of a limit began, Unix seconds."""
    return values[kind.end] - kind.length_s if kind.length_s else values[kind.start]


def ends_at_s(values: Values | None, kind: Kind, now_s: int, time_zone: str, calendar: Calendar) -> int:
    """When the current period of a limit ends, Unix seconds; 0: the limit has no period."""
    if kind.end == _NONE:
        return 0
    if values is not None and now_s < values[kind.end]:
        return values[kind.end]
    if kind.length_s:
        return now_s - now_s % kind.length_s + kind.length_s
    periods = calendar.at(now_s, time_zone)
    ends = {_HOUR_END: periods.hour_end_s, _DAY_END: periods.day_end_s, _MONTH_END: periods.month_end_s}
    return ends[kind.end]


def record(values: Values, change: Change, at_s: int, time_zone: str, calendar: Calendar) -> Values:
    """Count a change in each period that contains the moment. A later moment begins the next period; periods before
    the stored ones are over and not counted any more. Returns the values, which are new ones if sums have grown large.
    """
    if at_s >= values[_MINUTE_END]:
        values[_MINUTE_END] = at_s - at_s % MINUTE_S + MINUTE_S
        values[_MINUTE_REQUESTS] = values[_MINUTE_TOKENS] = values[_MINUTE_TOKENS_HELD] = 0
        _begin_periods(values, at_s, time_zone, calendar)
    requests, tokens, held_tokens, picousd, held_picousd, opened = change
    if requests:
        _record_requests(values, requests, at_s)
    if at_s >= values[_MINUTE_END] - MINUTE_S:
        values[_MINUTE_TOKENS] += tokens
        values[_MINUTE_TOKENS_HELD] += held_tokens
    if at_s >= values[_DAY_START]:
        values[_DAY_TOKENS_HELD] += held_tokens
        values[_DAY_MONEY_HELD] += held_picousd
        if tokens or picousd:
            values[_DAY_TOKENS] += tokens
            values[_DAY_MONEY] += picousd
    if at_s >= values[_MONTH_START]:
        values[_MONTH_MONEY] += picousd
        values[_MONTH_MONEY_HELD] += held_picousd
    values[HELD_MONEY] += held_picousd
    values[OPEN] += opened
    return _with_room(values)


def _record_requests(values: Values, requests: int, at_s: int) -> None:
    """Requests are counted when they come: never in a period that is over."""
    if at_s >= values[_SECOND_END]:
        values[_SECOND_END], values[_SECOND_REQUESTS] = at_s + 1, 0
    values[_SECOND_REQUESTS] += requests
    values[_MINUTE_REQUESTS] += requests
    values[_HOUR_REQUESTS] += requests


def _begin_periods(values: Values, at_s: int, time_zone: str, calendar: Calendar) -> None:
    """After a change of the time zone the period of the former zone runs to its end: nothing is counted in two."""
    if at_s < min(values[_HOUR_END], values[_DAY_END], values[_MONTH_END]):
        return
    periods = calendar.at(at_s, time_zone)
    if at_s >= values[_HOUR_END]:
        values[_HOUR_END] = periods.hour_end_s
        values[_HOUR_REQUESTS] = 0
    if at_s >= values[_DAY_END]:
        values[_DAY_START] = max(periods.day_start_s, values[_DAY_END])
        values[_DAY_END] = periods.day_end_s
        values[_DAY_TOKENS] = values[_DAY_TOKENS_HELD] = values[_DAY_MONEY] = values[_DAY_MONEY_HELD] = 0
        values[_ALERTED] &= ~_DAY_ALERTS
    if at_s >= values[_MONTH_END]:
        values[_MONTH_START] = max(periods.month_start_s, values[_MONTH_END])
        values[_MONTH_END] = periods.month_end_s
        values[_MONTH_MONEY] = values[_MONTH_MONEY_HELD] = 0
        values[_ALERTED] &= ~_MONTH_ALERTS


def was_alerted(values: Values, kind: Kind, percent: int) -> bool:
    return bool(values[_ALERTED] & _alert_bit(kind, percent))


def mark_alerted(values: Values, kind: Kind, percent: int) -> None:
    values[_ALERTED] |= _alert_bit(kind, percent)


def _alert_bit(kind: Kind, percent: int) -> int:
    return kind.alert_80 if percent < 100 else kind.alert_80 << 1


def in_use(values: Values, now_s: int) -> bool:
    """Whether the values say anything that counts now or later."""
    return values[_MONTH_END] > now_s or values[_DAY_END] > now_s or values[OPEN] > 0


def _with_room(values: Values) -> Values:
    """The values, in a list if sums come near the end of 64 bits."""
    largest = values[_DAY_TOKENS] | values[_DAY_TOKENS_HELD] | values[_MONTH_MONEY] | values[HELD_MONEY]
    return list(values) if largest >= _WIDE else values


def stored(values: Values) -> bytes:
    """The values as a snapshot keeps them: 64-bit integers, or decimal numbers where these are too small."""
    return values.tobytes() if isinstance(values, array) else ",".join(map(str, values)).encode()


def from_stored(data: bytes) -> Values:
    """The values of `stored`. Raises ValueError for any other data."""
    if len(data) == _SIZE * 8:
        return array("q", data)
    values = [int(number) for number in data.split(b",")]
    if len(values) != _SIZE:
        raise ValueError(f"{len(values)} counters of a scope, where there are {_SIZE}")
    return values
