"""What a line of the feed says, the same for every dialect."""

from __future__ import annotations

from enum import StrEnum

import msgspec

#: A JSON object as our decoder gives it: numbers with a fraction or an exponent stay the text they were, so that
#: no digit is lost; whole numbers are ``int``, of any size.
JsonObject = dict[str, object]

#: The symbol of what concerns the market as a whole.
MARKET = "market"


class Kind(StrEnum):
    """Name what an update holds."""

    QUOTE = "quote"
    TRADE = "trade"
    COMPOSITE = "composite"  # quote, trade and greeks fields in one flat object
    TIMESALE = "timesale"
    LEVEL2 = "level2"
    GREEKS = "greeks"
    MARKET_STATUS = "market_status"


#: Looked up once: a member's look-up takes 0.15 µs, and each line would need two.
MARKET_STATUS = Kind.MARKET_STATUS


class Update(msgspec.Struct, frozen=True, gc=False):
    """Carry one market-data message.

    ``fields`` has the feed's own names; ``symbol`` is ``MARKET`` for market status;
    ``feed_time`` is the server's stamp on the message as it was written (None where it has none).
    """

    kind: Kind
    symbol: str
    fields: JsonObject
    feed_time: object = None


class AuthAccepted(msgspec.Struct, frozen=True):
    """Say that the session is authenticated, for ``expires_in_seconds`` where the server tells."""

    expires_in_seconds: float | None = None


class AuthRefused(msgspec.Struct, frozen=True):
    """Say that the token was not accepted."""

    error: str


class AuthWanted(msgspec.Struct, frozen=True):
    """Say that the server asks for authentication within ``seconds_left``; 0: the session has lapsed, or never was."""

    seconds_left: float


class Pong(msgspec.Struct, frozen=True):
    """Answer an application ping."""


class Ack(msgspec.Struct, frozen=True):
    """Say that a request was accepted; ``request_id`` None: the answer does not tell which."""

    request_id: str | None


class RequestRefused(msgspec.Struct, frozen=True):
    """Say that a request, or something unnamed, went wrong; ``request_id`` as in ``Ack``."""

    request_id: str | None
    error: str


Event = Update | AuthAccepted | AuthRefused | AuthWanted | Pong | Ack | RequestRefused
