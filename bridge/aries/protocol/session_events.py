"""What a session reports to its client: changes that are worth a log line, a control record or a gap."""

from __future__ import annotations

import msgspec


class Authenticated(msgspec.Struct, frozen=True):
    """The server accepted a token.

    ``again``: on a session that was authenticated before. ``implied``: by market data instead of by an answer.
    ``expired``: too late to keep that session, so that another one starts, and what was sent in between is lost.
    ``ignored_life_seconds``: the lifetime that the server sent, if it cannot be meant.
    """

    again: bool
    expires_in_seconds: float | None
    implied: bool = False
    expired: bool = False
    ignored_life_seconds: float | None = None


class Subscribed(msgspec.Struct, frozen=True):
    """All subscribe requests are answered, or count as accepted."""

    symbols: int
    rejected: tuple[str, ...]


class DataStarted(msgspec.Struct, frozen=True):
    """The first market data of the session was received."""


class SymbolRejected(msgspec.Struct, frozen=True):
    """The server rejected the subscription of one symbol."""

    symbol: str
    error: str


class SymbolLimitReached(msgspec.Struct, frozen=True):
    """The server serves no more symbols: all others of the plan are left out, in its order."""

    served: int
    left_out: tuple[str, ...]
    error: str


class ServerError(msgspec.Struct, frozen=True):
    """An error message of the server that is not about one symbol."""

    error: str


class PongMissing(msgspec.Struct, frozen=True):
    """A ping was not answered in time, but data was received after it; reported once until one is answered."""

    timeout_seconds: float


class DataMissing(msgspec.Struct, frozen=True):
    """No data for this time although pings are answered, so that all symbols are subscribed again."""

    quiet_seconds: float


SessionEvent = (
    Authenticated
    | Subscribed
    | DataStarted
    | SymbolRejected
    | SymbolLimitReached
    | ServerError
    | PongMissing
    | DataMissing
)
