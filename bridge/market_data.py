"""Market data of the feed in either dialect: event types, the names of their fields, and updates.

The names are the feed's own (protocol §5); ``bridge.serialization.field_mappings`` maps them to those of records.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, final

import msgspec

from bridge.errors import BadLine

if TYPE_CHECKING:
    from collections.abc import Mapping

#: A decoded JSON object: numbers with a fraction or an exponent stay the text that was sent, so that no digit is
#: lost; whole numbers are ``int``, of any size.
JsonObject = dict[str, object]

#: The symbol of an update about the market as a whole.
MARKET = "market"


class EventType(StrEnum):
    """An event type that can be subscribed to, as named in ``ARIES_EVENTS``."""

    QUOTES = "quotes"
    TRADES = "trades"
    TIMESALES = "timesales"
    L2 = "l2"
    GREEKS = "greeks"


_EXECUTION_FIELDS = ("price", "size", "tradeExchange", "tradeTimestamp", "tradeSeq", "tick")
#: The fields of each event type.
FIELDS: Mapping[EventType, tuple[str, ...]] = MappingProxyType(
    {
        EventType.QUOTES: (
            *("bidPrice", "bidSize", "bidExchange", "bidChange", "bidSizeChange"),
            *("askPrice", "askSize", "askExchange", "askChange", "askSizeChange"),
            "quoteTimestamp",
        ),
        EventType.TRADES: (
            *_EXECUTION_FIELDS,
            *("lastPrice", "totalVolume", "tickVolume", "openPrice", "highPrice", "lowPrice", "netChange"),
            *("high52Week", "low52Week", "openInterest", "dividend"),
        ),
        EventType.TIMESALES: _EXECUTION_FIELDS,
        EventType.L2: ("orderBook", "quotes"),
        EventType.GREEKS: ("delta", "gamma", "theta", "vega", "rho", "impliedVolatility"),
    }
)
#: The fields of a market status, which is sent without a subscription.
MARKET_STATUS_FIELDS = ("market", "afterHours", "earlyHours", "exchanges", "currencies", "indicesGroups", "serverTime")
#: Fields that any update of a symbol may have besides ``symbol``.
SHARED_FIELDS = ("instrumentType",)


class UpdateKind(StrEnum):
    """The kind of an update, by its content."""

    QUOTE = "quote"
    TRADE = "trade"
    COMPOSITE = "composite"  # quote, trade and greeks fields in one flat object
    TIMESALE = "timesale"
    LEVEL2 = "level2"
    GREEKS = "greeks"
    MARKET_STATUS = "market_status"


#: A constant, as each line needs it twice and the look-up of an enum's member takes 0.15 µs.
MARKET_STATUS = UpdateKind.MARKET_STATUS


@final
class Update(msgspec.Struct, frozen=True, gc=False):
    """One market-data message.

    ``fields`` has the feed's names; ``symbol`` is ``MARKET`` for market status; ``feed_time`` is the server's
    timestamp of the message as it was sent, or None.
    """

    kind: UpdateKind
    symbol: str
    fields: JsonObject
    feed_time: object = None


class Reply(msgspec.Struct, frozen=True):
    """A message of the feed without market data, such as an acknowledgement or a pong."""

    #: The kind of such lines in the account ``filtered``.
    counted_as: ClassVar[str]


#: A line as it was received, and its message.
Line = tuple[bytes, Update | Reply | BadLine]
