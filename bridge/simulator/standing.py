"""The faults that last: which are in force, and how often they will still strike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, cast

from bridge.simulator.faults import Lasting

if TYPE_CHECKING:
    from collections.abc import Callable

_F = TypeVar("_F", bound=Lasting)


@dataclass
class _InForce:
    fault: Lasting
    until_seconds: float
    times_left: float


class Standing:
    """Keep the lasting faults of a simulator; those of one type take their turns in order."""

    def __init__(self, now_seconds: Callable[[], float]) -> None:
        self._now_seconds = now_seconds
        self._in_force: dict[type[Lasting], list[_InForce]] = {}

    def add(self, fault: Lasting) -> None:
        """Put a fault in force."""
        until = math.inf if fault.for_seconds is None else self._now_seconds() + fault.for_seconds
        times = math.inf if fault.times is None else fault.times
        self._in_force.setdefault(type(fault), []).append(_InForce(fault, until, times))

    def clear(self) -> None:
        """End all of them."""
        self._in_force.clear()

    def find(self, kind: type[_F], fits: Callable[[_F], bool] | None = None) -> _F | None:
        """Return the fault of this type that is in force, if one is and it fits."""
        found = self._find(kind, fits)
        return None if found is None else cast("_F", found.fault)

    def take(self, kind: type[_F], fits: Callable[[_F], bool] | None = None) -> _F | None:
        """Return it likewise and use up one of its times."""
        found = self._find(kind, fits)
        if found is None:
            return None
        found.times_left -= 1
        return cast("_F", found.fault)

    def _find(self, kind: type[_F], fits: Callable[[_F], bool] | None) -> _InForce | None:
        candidates = self._in_force.get(kind)
        if not candidates:
            return None
        now = self._now_seconds()
        live = [one for one in candidates if one.times_left > 0 and one.until_seconds > now]
        self._in_force[kind] = live
        return next((one for one in live if fits is None or fits(cast("_F", one.fault))), None)
