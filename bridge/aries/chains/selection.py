"""Select the contracts of a chain: from those that are listed, the price of the underlying, and the date.

Strikes follow the price with hysteresis: they are selected around an *anchor*, which stays where it is until the price
has crossed more than half of the strikes on one side of it, and at least two. So a price that swings around a strike
changes nothing, and at least half of the nearest strikes on each side are always selected.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from bridge.aries.subscriptions.chain import Chain
    from bridge.aries.subscriptions.symbols import Contract

#: Strikes that the price must cross at least before others are selected: with one it could swing around that one.
MIN_CROSSED: Final = 2


@dataclass(frozen=True, slots=True)
class Band:
    """The prices at which a selection stays as it is; all if it does not depend on the price."""

    lowest: float = -math.inf
    highest: float = math.inf

    def __contains__(self, price: float) -> bool:
        return self.lowest <= price <= self.highest

    def intersection(self, other: Band) -> Band:
        """Return the prices in both."""
        return Band(max(self.lowest, other.lowest), min(self.highest, other.highest))


ANY_PRICE: Final = Band()


@dataclass(frozen=True, slots=True)
class Selection:
    """The selected contracts.

    ``anchor`` is the price that they were selected by, None if there was none; ``left_out`` is how many more the chain
    has than ``max_contracts`` allows; at prices outside of ``listed`` the exchange will list more strikes.
    """

    symbols: tuple[str, ...] = ()
    anchor: float | None = None
    band: Band = ANY_PRICE
    left_out: int = 0
    listed: Band = ANY_PRICE
    #: The strikes can only be selected once the price is known.
    needs_price: bool = False


def select(
    chain: Chain, listed: Iterable[Contract], price: float | None, today: date, *, anchor: float | None = None
) -> Selection:
    """Return the contracts of a chain on a date of the exchange.

    With an ``anchor``, which the selection before had, the strikes stay as they are while the price is within its band.
    """
    by_expiration = _by_expiration(chain, listed, today)
    if anchor is not None and (price is None or price in _select(chain, by_expiration, anchor).band):
        price = anchor
    return _select(chain, by_expiration, price)


def depends_on_price(chain: Chain) -> bool:
    """Return whether the price of the underlying decides which contracts are selected."""
    return chain.strikes.around is not None


def _by_expiration(chain: Chain, listed: Iterable[Contract], today: date) -> Mapping[date, list[Contract]]:
    """Return the contracts that are wanted by all but their strike, those that have expired left out."""
    last = None if chain.expires_within_days is None else today + timedelta(days=chain.expires_within_days)
    found: defaultdict[date, list[Contract]] = defaultdict(list)
    for contract in listed:
        expiration = contract.expiration
        wanted = expiration <= last if last is not None else expiration in chain.expirations
        if wanted and expiration >= today and contract.type in chain.types:
            found[expiration].append(contract)
    return found


def _select(chain: Chain, by_expiration: Mapping[date, list[Contract]], price: float | None) -> Selection:
    around = chain.strikes.around
    if around is not None and price is None:
        return Selection(needs_price=True)
    strikes = {day: sorted({contract.strike for contract in contracts}) for day, contracts in by_expiration.items()}
    wanted: list[Contract] = []
    for day, contracts in by_expiration.items():
        lowest, highest = chain.strikes.lowest, chain.strikes.highest
        if around is not None and price is not None:
            lowest, highest = _window(strikes[day], price, around)
        wanted += [contract for contract in contracts if lowest <= contract.strike <= highest]
    kept = _nearest(wanted, price, chain.max_contracts)
    left_out = len(wanted) - len(kept)
    band = listed = ANY_PRICE
    if price is not None and (around is not None or left_out):
        band = _common_band(strikes, kept, price, around if not left_out else None)
        for of_day in strikes.values():
            listed = listed.intersection(Band(of_day[0], of_day[-1]))
    symbols = tuple(sorted({contract.symbol for contract in kept}))
    return Selection(symbols, price, band, left_out, listed)


def _window(strikes: Sequence[float], price: float, around: int) -> tuple[float, float]:
    """Return the lowest and the highest of the nearest strikes on each side; one at the price counts on neither."""
    below, above = bisect_left(strikes, price), bisect_right(strikes, price)
    return strikes[max(0, below - around)], strikes[min(above + around, len(strikes)) - 1]


def _common_band(
    strikes: Mapping[date, Sequence[float]], kept: Iterable[Contract], price: float, around: int | None
) -> Band:
    """Return the prices at which all kept contracts stay; without ``around``, half of them are on each side."""
    kept_strikes: defaultdict[date, set[float]] = defaultdict(set)
    for contract in kept:
        kept_strikes[contract.expiration].add(contract.strike)
    band = ANY_PRICE
    for day, of_day in kept_strikes.items():
        band = band.intersection(_band(strikes[day], price, around or max(1, len(of_day) // 2)))
    return band


def _band(strikes: Sequence[float], price: float, around: int) -> Band:
    """Return the prices up to which no more than half of the strikes on a side are crossed."""
    crossed = max(MIN_CROSSED, around // 2 + 1)
    below, above = bisect_left(strikes, price), bisect_right(strikes, price)
    lowest, highest = below - crossed, above + crossed - 1
    return Band(strikes[lowest] if lowest >= 0 else -math.inf, strikes[highest] if highest < len(strikes) else math.inf)


def _nearest(contracts: list[Contract], price: float | None, limit: int) -> list[Contract]:
    """Return the contracts nearest to the price, of these the soonest; without a price those nearest to the median."""
    if len(contracts) <= limit:
        return contracts
    strikes = sorted(contract.strike for contract in contracts)
    center = strikes[len(strikes) // 2] if price is None else price
    contracts.sort(key=lambda one: (abs(one.strike - center), one.expiration, one.type, one.symbol))
    return contracts[:limit]
