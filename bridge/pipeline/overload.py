"""Overload: the buffer is full, so quotes and greeks conflate and other events are dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from bridge.pipeline.record_buffer import RecordBuffer

#: Overload ends when the buffer has drained below this part of its budget.
LOW_WATER_MARK: Final = 0.8


class Announcer(Protocol):
    """What announces that overload has started or ended."""

    def overload(self, started: bool, buffer_bytes: int) -> None:  # noqa: FBT001 - the one fact of the event
        """Announce it, with how much the buffer holds."""


class Overload:
    """Whether the buffer is full, and whether that was announced."""

    __slots__ = ("_buffer", "_control", "active", "announced")

    def __init__(self, buffer: RecordBuffer, control: Announcer) -> None:
        self.active = False
        self.announced = False
        self._buffer = buffer
        self._control = control

    @property
    def has_drained(self) -> bool:
        """Return whether the buffer is below the low-water mark."""
        return self._buffer.bytes <= self._buffer.budget_bytes * LOW_WATER_MARK

    def announce(self) -> None:
        """Announce a change. Call it between two lines: the accounts in the announcement then add up."""
        if self.active is not self.announced:
            self.announced = self.active
            self._control.overload(self.active, self._buffer.bytes)
