"""What an entry of a setting says about an option chain: which contracts of an underlying to subscribe to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from bridge.aries.subscriptions.symbols import OptionType, SymbolType

if TYPE_CHECKING:
    from datetime import date

    from bridge.market_data import EventType

#: Contracts of one chain unless the entry sets ``max_contracts``, and the most that it may set.
DEFAULT_MAX_CONTRACTS: Final = 400
LARGEST_MAX_CONTRACTS: Final = 20_000
MAX_AROUND: Final = 1000
MAX_EXPIRES_WITHIN_DAYS: Final = 3660
MAX_EXPIRATIONS: Final = 100
MAX_CHAINS: Final = 100
BOTH_TYPES: Final = frozenset(OptionType)


@dataclass(frozen=True, slots=True)
class Strikes:
    """The wanted strikes: the ``around`` nearest on each side of the price, or a range; all by default."""

    around: int | None = None
    lowest: float = 0.0
    highest: float = math.inf


ALL_STRIKES: Final = Strikes()


@dataclass(frozen=True, slots=True)
class Chain:
    """One entry with an underlying: the contracts to select, and what to subscribe to for each of them.

    Of ``expirations`` and ``expires_within_days`` exactly one is set. ``underlying_events`` is empty unless the
    underlying itself is to be published, too.
    """

    underlying: str
    underlying_type: SymbolType
    events: frozenset[EventType]
    expires_within_days: int | None = None
    expirations: tuple[date, ...] = ()
    strikes: Strikes = ALL_STRIKES
    types: frozenset[OptionType] = BOTH_TYPES
    fields: Mapping[EventType, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    underlying_events: frozenset[EventType] = frozenset()
    max_contracts: int = DEFAULT_MAX_CONTRACTS


def strikes(value: object) -> Strikes:
    """Return the strikes of ``"all"``, ``{"around": n}`` or ``{"from": low, "to": high}``; raise ValueError."""
    if value is None or value == "all":
        return ALL_STRIKES
    if not isinstance(value, Mapping) or not value or not value.keys() <= {"around", "from", "to"}:
        raise ValueError(f"strikes must be {_STRIKES}.")
    if "around" in value:
        if len(value) > 1:
            raise ValueError('strikes has "around" and a range: keep one of the two.')
        around = value["around"]
        if type(around) is not int or not 1 <= around <= MAX_AROUND:
            raise ValueError(f'"around" of strikes must be a whole number from 1 to {MAX_AROUND}.')
        return Strikes(around=around)
    lowest, highest = _price("from", value.get("from", 0)), _price("to", value.get("to", math.inf))
    if lowest > highest:
        raise ValueError(f"strikes are from {lowest:g} to {highest:g}: swap the two.")
    return Strikes(lowest=lowest, highest=highest)


_STRIKES = '{"around":10}, {"from":90,"to":110} (either may be left out) or "all"'


def types(value: object) -> frozenset[OptionType]:
    """Return the types of ``"call"``, ``"put"``, ``"both"`` or a list of them; raise ValueError."""
    if value is None or value == "both":
        return BOTH_TYPES
    names = [value] if isinstance(value, str) else value
    try:
        found = frozenset(OptionType(name) for name in names) if isinstance(names, list | tuple | frozenset) else None
    except ValueError:
        found = None
    if not found:
        raise ValueError('types must be "call", "put" or "both".')
    return found


def _price(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise ValueError(f'"{name}" of strikes must be a price, like 90 or 112.5.')
    return float(value)
