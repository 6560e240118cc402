"""What the feed delivers, whichever dialect it speaks: event types, the names of their fields, and updates.

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

#: A JSON object as our decoder gives it: numbers with a fraction or an exponent stay the text they were, so that
#: no digit is lost; whole numbers are ``int``, of any size.
JsonObject = dict[str, object]

#: The symbol of an update about the market as a whole.
MARKET = "market"


class EventType(StrEnum):
    """A kind of event that can be subscribed to, as ``ARIES_EVENTS`` spells it."""

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
#: The fields of a market status, which always comes.
MARKET_STATUS_FIELDS = ("market", "afterHours", "earlyHours", "exchanges", "currencies", "indicesGroups", "serverTime")
#: Fields of any symbol's update, beside ``symbol``.
SHARED_FIELDS = ("instrumentType",)


class UpdateKind(StrEnum):
    """What an update holds."""

    QUOTE = "quote"
    TRADE = "trade"
    COMPOSITE = "composite"  # quote, trade and greeks fields in one flat object
    TIMESALE = "timesale"
    LEVEL2 = "level2"
    GREEKS = "greeks"
    MARKET_STATUS = "market_status"


#: Looked up once: a member's look-up takes 0.15 µs, and each line would need two.
MARKET_STATUS = UpdateKind.MARKET_STATUS


@final
class Update(msgspec.Struct, frozen=True, gc=False):
    """One market-data message.

    ``fields`` has the feed's own names; ``symbol`` is ``MARKET`` for market status;
    ``feed_time`` is the server's timestamp of the message as it was written (None if it has none).
    """

    kind: UpdateKind
    symbol: str
    fields: JsonObject
    feed_time: object = None


class Reply(msgspec.Struct, frozen=True):
    """A line of the feed that is no market data, such as an acknowledgement or a pong."""

    #: What such lines are counted as in the account ``filtered``.
    counted_as: ClassVar[str]


#: A line as it was read, and what it means.
Line = tuple[bytes, Update | Reply | BadLine]
