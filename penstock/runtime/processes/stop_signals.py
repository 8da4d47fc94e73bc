"""The signals that stop a process, and SIGINT while a service starts, before its event loop handles signals."""

from __future__ import annotations

import signal

__all__ = ["end_at_once_when_interrupted", "stop_signal_numbers"]


def stop_signal_numbers() -> tuple[signal.Signals, ...]:
    """SIGTERM, SIGINT, and SIGHUP, which a closed terminal sends, unless the process was started to ignore that one, as
    by `nohup`.
    """
    numbers = (signal.SIGTERM, signal.SIGINT)
    return numbers if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (*numbers, signal.SIGHUP)


def end_at_once_when_interrupted() -> None:
    """SIGINT ends the process without a traceback until another handler is set: there is nothing to finish yet."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
