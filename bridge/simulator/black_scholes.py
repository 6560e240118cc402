"""Black-Scholes option values and sensitivities, precise enough for plausible market data."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

_RATE: Final = 0.04
_ROOT_TWO_PI: Final = math.sqrt(2 * math.pi)


class Valuation(NamedTuple):
    """An option's value and its sensitivities: theta per day, vega and rho per percentage point."""

    value: float
    delta: float
    gamma: float
    theta: float
    vega: float
    rho: float


def valuation(*, spot: float, strike: float, years: float, volatility: float, call: bool) -> Valuation:
    """Value a European option (Black and Scholes, 1973) at a fixed interest rate of 4 %."""
    spread = volatility * math.sqrt(years)
    d1 = (math.log(spot / strike) + (_RATE + volatility**2 / 2) * years) / spread
    d2 = d1 - spread
    side = 1 if call else -1
    discounted = strike * math.exp(-_RATE * years)
    density = math.exp(-(d1**2) / 2) / _ROOT_TWO_PI
    decay = -spot * density * volatility / (2 * math.sqrt(years)) - side * _RATE * discounted * _normal_cdf(side * d2)
    return Valuation(
        value=side * (spot * _normal_cdf(side * d1) - discounted * _normal_cdf(side * d2)),
        delta=side * _normal_cdf(side * d1),
        gamma=density / (spot * spread),
        theta=decay / 365,
        vega=spot * density * math.sqrt(years) / 100,
        rho=side * years * discounted * _normal_cdf(side * d2) / 100,
    )


def _normal_cdf(x: float) -> float:
    return (1 + math.erf(x / math.sqrt(2))) / 2
