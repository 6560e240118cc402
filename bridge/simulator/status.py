"""The state of the made-up market, as the feed tells it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from bridge.simulator.clocks import iso_utc

if TYPE_CHECKING:
    from bridge.simulator.requests import Json


class MarketState(StrEnum):
    """Name a phase of the trading day."""

    OPEN = "open"
    CLOSED = "closed"
    EARLY = "early"
    EXTENDED = "extended"  # after hours


def status_fields(state: MarketState, now_ms: int) -> Json:
    """Return the ``data`` of a market status; currencies trade on while the exchanges are closed."""
    word = "extended-hours" if state in (MarketState.EARLY, MarketState.EXTENDED) else state.value
    indices = "open" if state is MarketState.OPEN else "closed"
    return {
        "afterHours": state is MarketState.EXTENDED,
        "earlyHours": state is MarketState.EARLY,
        "currencies": {"crypto": "open", "fx": "open"},
        "exchanges": {"nasdaq": word, "nyse": word, "otc": word},
        "indicesGroups": {"dow_jones": indices, "nasdaq": indices, "s_and_p": indices},
        "market": word,
        "serverTime": iso_utc(now_ms),
    }
