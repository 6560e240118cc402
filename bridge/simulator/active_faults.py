"""The lasting faults that are active, and how often each of them still applies."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, cast

from bridge.simulator.faults import LastingFault

if TYPE_CHECKING:
    from collections.abc import Callable

_F = TypeVar("_F", bound=LastingFault)


@dataclass
class _ActiveFault:
    fault: LastingFault
    until_seconds: float
    times_left: float


class ActiveFaults:
    """The active faults of a simulator; of several of one type, the first that matches applies."""

    def __init__(self, now_seconds: Callable[[], float]) -> None:
        self._now_seconds = now_seconds
        self._by_type: dict[type[LastingFault], list[_ActiveFault]] = {}

    def add(self, fault: LastingFault) -> None:
        """Activate a fault."""
        until = math.inf if fault.for_seconds is None else self._now_seconds() + fault.for_seconds
        times = math.inf if fault.times is None else fault.times
        self._by_type.setdefault(type(fault), []).append(_ActiveFault(fault, until, times))

    def clear(self) -> None:
        """End all faults."""
        self._by_type.clear()

    def find(self, fault_type: type[_F], matches: Callable[[_F], bool] | None = None) -> _F | None:
        """Return the active fault of this type that matches, or None."""
        found = self._find(fault_type, matches)
        return None if found is None else cast("_F", found.fault)

    def take(self, fault_type: type[_F], matches: Callable[[_F], bool] | None = None) -> _F | None:
        """Return the same as ``find``, and use up one of the fault's ``times``."""
        found = self._find(fault_type, matches)
        if found is None:
            return None
        found.times_left -= 1
        return cast("_F", found.fault)

    def _find(self, fault_type: type[_F], matches: Callable[[_F], bool] | None) -> _ActiveFault | None:
        candidates = self._by_type.get(fault_type)
        if not candidates:
            return None
        now = self._now_seconds()
        active = [one for one in candidates if one.times_left > 0 and one.until_seconds > now]
        self._by_type[fault_type] = active
        return next((one for one in active if matches is None or matches(cast("_F", one.fault))), None)
