"""Which messages of a partition's journal are missing. Pure: the caller reads the journal.

The stream's own count of deleted messages does not say it: probe messages are deleted from the same stream
(`WriteProbe`), and those of one partition lie between those of others. So each batch names the one before it.
"""

from __future__ import annotations

from penstock.contract.ledger.journal import JournalBatch

__all__ = ["JournalContinuity"]


class JournalContinuity:
    """Follows the messages of one partition in their order. Of neighbours that were deleted together only the last is
    known.
    """

    def __init__(self) -> None:
        self._last_batch = 0
        self._unreadable: set[int] = set()
        """Messages since the last batch; the next batch may follow one of them."""
        self._missing: list[int] = []

    def add(self, batch: JournalBatch | None, sequence: int) -> None:
        """`batch` None: the message cannot be read.

        A batch that names one with a later number than its own was written to a stream that was created anew: the
        number is one of the earlier stream.
        """
        if batch is None:
            self._unreadable.add(sequence)
            return
        if self._last_batch < batch.previous < sequence and batch.previous not in self._unreadable:
            self._missing.append(batch.previous)
        self._last_batch = sequence
        self._unreadable.clear()

    def missing(self, applied: int, stored_from: int) -> list[int]:
        """The sequences of the missing messages.

        `applied`: a message up to which a snapshot or the owner had the journal before it was read here.
        `stored_from`: what is before this sequence was deleted by the limits of the stream.
        """
        has_lost_end = applied > self._last_batch and applied not in self._unreadable
        found = [*self._missing, applied] if has_lost_end else self._missing
        return [each for each in found if each >= stored_from]
