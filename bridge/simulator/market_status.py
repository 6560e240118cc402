"""The phases of the trading day, and the market status message that announces them."""

from __future__ import annotations

from enum import StrEnum

from bridge.simulator.feed_timestamps import iso_utc


class MarketState(StrEnum):
    """A phase of the trading day."""

    OPEN = "open"
    CLOSED = "closed"
    EARLY = "early"
    EXTENDED = "extended"  # after hours


def market_status_fields(state: MarketState, now_ms: int) -> dict[str, object]:
    """Return the ``data`` of a market status; currencies are traded even while the exchanges are closed."""
    exchange_state = "extended-hours" if state in (MarketState.EARLY, MarketState.EXTENDED) else state.value
    index_state = "open" if state is MarketState.OPEN else "closed"
    return {
        "afterHours": state is MarketState.EXTENDED,
        "earlyHours": state is MarketState.EARLY,
        "currencies": {"crypto": "open", "fx": "open"},
        "exchanges": {"nasdaq": exchange_state, "nyse": exchange_state, "otc": exchange_state},
        "indicesGroups": {"dow_jones": index_state, "nasdaq": index_state, "s_and_p": index_state},
        "market": exchange_state,
        "serverTime": iso_utc(now_ms),
    }
