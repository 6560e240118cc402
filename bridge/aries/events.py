"""What a line of the feed says, the same for every dialect."""

from __future__ import annotations

from enum import StrEnum

import msgspec

#: A JSON object as our decoder gives it: numbers with a fraction or exponent, and integers beyond 64 bits,
#: stay the text they were, so that no digit is lost; other integers are ``int``.
JsonObject = dict[str, object]


class Kind(StrEnum):
    """Name what an update holds."""

    QUOTE = "quote"
    TRADE = "trade"
    COMPOSITE = "composite"  # quote, trade and greeks fields in one flat object
    TIMESALE = "timesale"
    LEVEL2 = "level2"
    GREEKS = "greeks"
    MARKET_STATUS = "market_status"


class Update(msgspec.Struct, frozen=True, gc=False):
    """Carry one market-data message.

    ``fields`` has the feed's own names; ``symbol`` is ``"market"`` for market status;
    ``feed_time`` is the server's stamp on the message as it was written (None where it has none).
    """

    kind: Kind
    symbol: str
    fields: JsonObject
    feed_time: object = None


class AuthAccepted(msgspec.Struct, frozen=True):
    """Say that the session is authenticated, for ``expires_in_seconds`` where the server tells."""

    expires_in_seconds: float | None = None
    request_id: str | None = None


class AuthRefused(msgspec.Struct, frozen=True):
    """Say that the token was not accepted."""

    error: str


class AuthWanted(msgspec.Struct, frozen=True):
    """Say that the server asks for authentication: ``authRequired``, ``refreshAuth`` or ``authExpired``."""

    word: str


class Pong(msgspec.Struct, frozen=True):
    """Answer an application ping."""


class Ack(msgspec.Struct, frozen=True):
    """Say that a request was accepted (``request_id`` None where the dialect has no ids)."""

    request_id: str | None
    what: str


class RequestRefused(msgspec.Struct, frozen=True):
    """Say that a request, or something unnamed, went wrong."""

    request_id: str | None
    error: str


Event = Update | AuthAccepted | AuthRefused | AuthWanted | Pong | Ack | RequestRefused
